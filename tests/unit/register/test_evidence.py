"""What the rule is told: only what both versions were asked alike, from records nobody changed."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tessera_core.domain.scores import Kind, scores
from tessera_core.errors import RecordError
from tessera_core.records.evaluation import PREDICTIONS
from tessera_core.records.files import atomic_folder, read_json, write_json
from tessera_core.records.manifest import write_manifest
from tessera_core.records.receipt import Receipt
from tessera_core.records.samples import read_table, write_table
from tessera_core.register import stage
from tessera_core.register.evidence import broken_links, quality_passed, read_evidence
from tests.unit.register.built import NUM_GROUPS, NUM_PER_GROUP, PROTOCOL


@pytest.fixture
def pair(workshop):
    """A workshop with a champion of accuracy 0.7 and a candidate of 0.8; the champion's digest."""
    workshop.train(seed=1)
    workshop.evaluate(accuracy=0.7)
    stage.run(workshop.config, workshop.paths, workshop.ports)
    served = workshop.model_digest
    workshop.train(seed=2)
    workshop.evaluate(accuracy=0.8, other=0.6)
    workshop.compare()
    return workshop, served


def read(pair):
    workshop, served = pair
    evaluate = Receipt.read(workshop.paths.receipt("evaluate"))
    return read_evidence(workshop.paths, evaluate, served)[0]


def rewrite(folder, change, **facts):
    """Change rows and facts of an evaluation, and seal it again."""
    table = read_table(folder / "predictions.parquet", PREDICTIONS)
    columns = {name: table[name].to_numpy().copy() for name in table.column_names}
    content = read_json(folder / "evaluation.json")
    columns = change(columns) or columns
    with atomic_folder(folder) as building:
        write_json(building / "evaluation.json", {**content, **facts})
        arrays = [pa.array(columns[part.name]).cast(part.type) for part in PREDICTIONS]
        write_table(pa.table(arrays, schema=PREDICTIONS), building / "predictions.parquet")
        write_manifest(building, "evaluation", {})


def nothing(columns):
    """Change no row."""


def test_tallies_of_both_versions_give_their_scores(pair):
    found = {task.name: task for task in read(pair).tasks}

    crops = found["crop_type"]
    accuracy = [
        float(scores(crops.kind, tally.sum(axis=0))["accuracy"])
        for tally in (crops.champion, crops.challenger)
    ]
    assert set(found) == {"burned", "crop_type"}
    assert accuracy == pytest.approx([0.7, 0.8], abs=0.01)
    assert len(crops.champion) == NUM_GROUPS
    assert (crops.margin, crops.metric) == (0.02, "accuracy")


def test_size_speed_bridge_int8_and_checks_are_told(pair):
    found = read(pair)

    assert (found.time_ratio, found.size_ratio, found.bridge) == (1.0, 1.0, "bridgeable")
    assert (found.canaries_pass, found.quality_passed, found.audit_passed) == (True, True, True)
    assert found.int8_loss == {"crop_type": 0.0, "burned": 0.0}


@pytest.mark.parametrize("column", ["row", "year", "label", "group", "truth"])
def test_units_that_differ_in_anything_cannot_be_compared(pair, column):
    workshop, served = pair

    def shift(columns):
        columns[column][columns["task"] == "crop_type"] += 1

    rewrite(workshop.paths.evaluation_of(served, PROTOCOL), shift)

    found = read(pair)

    assert [task.name for task in found.tasks] == ["burned"]
    assert found.missing == {"crop_type": "the two were asked about other units"}


def test_a_unit_that_only_one_version_was_asked_is_no_common_ground(pair):
    workshop, served = pair

    def cut(columns):
        return {name: values[1:] for name, values in columns.items()}

    rewrite(workshop.paths.evaluation_of(served, PROTOCOL), cut)

    assert len(read(pair).missing) == 1


def test_several_labels_of_a_unit_are_tallied_label_by_label(pair):
    workshop, served = pair
    report = read_json(workshop.paths.evaluation / "evaluation.json")["tasks"]
    report["crop_type"] |= {"kind": "multilabel", "metric": "macro_f1"}
    report["crop_type"]["scores"] = {}

    def labels(columns):
        # Every second row becomes the second label of the unit before it.
        for name in ("row", "group"):
            columns[name][1::2] = columns[name][0::2]
        columns["label"][1::2] = 1

    for folder in (
        workshop.paths.evaluation,
        workshop.paths.evaluation_of(served, PROTOCOL),
    ):
        rewrite(folder, labels, tasks=report)
    found = next(task for task in read(pair).tasks if task.name == "crop_type")

    assert found.kind == Kind.MULTILABEL
    assert found.champion.shape[1:] == (2, 2, 2)
    assert found.champion.sum() == NUM_GROUPS * NUM_PER_GROUP


@pytest.mark.parametrize("what", ["model_digest", "protocol_digest"])
def test_an_evaluation_under_another_name_is_refused(pair, what):
    workshop, served = pair
    folder = workshop.paths.evaluation_of(served, PROTOCOL)
    whole = {"model_digest": served, "protocol_digest": PROTOCOL}[what]

    # The folder's name holds twelve digits only: the rest must be looked at.
    rewrite(folder, nothing, **{what: whole[:12] + "0" * 52})

    with pytest.raises(RecordError, match="scores another model or by another protocol"):
        read(pair)


def test_a_comparison_of_other_models_is_refused(pair):
    workshop, _ = pair
    workshop.compare(champion={"model_digest": "f" * 64, "num_parameters": 100})

    with pytest.raises(RecordError, match=r"compares model f{12}, expected"):
        read(pair)


@pytest.mark.parametrize("name", ["evaluation.json", "predictions.parquet"])
def test_a_record_that_was_changed_after_it_was_sealed_is_refused(pair, name):
    workshop, served = pair
    path = workshop.paths.evaluation_of(served, PROTOCOL) / name
    path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(RecordError, match="was changed"):
        read(pair)


def test_an_evaluation_of_another_model_than_the_receipts_is_refused(pair):
    workshop, served = pair
    evaluate = Receipt.read(workshop.paths.receipt("evaluate"))
    other = replace(evaluate, facts={**evaluate.facts, "model_digest": "a" * 64})

    with pytest.raises(RecordError, match="run `tessera evaluate` again"):
        read_evidence(workshop.paths, other, served)


def test_a_broken_chain_is_told(pair):
    workshop, _ = pair
    evaluate = Receipt.read(workshop.paths.receipt("evaluate"))
    link = workshop.paths.lineage / f"{evaluate.upstream['pretrain']}.json"
    link.write_text(link.read_text().replace("12345", "12346"))

    assert broken_links(evaluate, workshop.paths.lineage) == [evaluate.upstream["pretrain"]]
    assert quality_passed(evaluate, workshop.paths.lineage) is None
    assert read(pair).audit_passed is False


def test_without_a_champion_only_its_own_checks_are_told(pair):
    workshop, _ = pair
    evaluate = Receipt.read(workshop.paths.receipt("evaluate"))

    found, sources = read_evidence(workshop.paths, evaluate, None)

    assert found.tasks == ()
    assert found.canaries_pass
    assert sources == {}


def test_regions_go_with_their_groups(pair):
    workshop, _ = pair

    def halve(columns):
        columns["region"] = np.where(columns["group"] < 40, "south", "north")

    rewrite(workshop.paths.evaluation, halve)

    task = read(pair).tasks[0]

    assert task.region.tolist() == ["south"] * 40 + ["north"] * 40
