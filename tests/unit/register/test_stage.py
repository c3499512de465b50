"""The stage: versions, aliases, the champion's artifact, and nothing done twice."""

import json
import shutil
from dataclasses import replace

import pytest

from tessera_core.errors import InputError, RecordError
from tessera_core.model.artifact import load_artifact
from tessera_core.ports import OFFLINE
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.register import stage
from tests.unit.register.built import PROTOCOL


def register(workshop, *overrides):
    config = workshop.config
    if overrides:
        config = replace(config, register=replace(config.register, **dict(overrides)))
    workshop.compare()
    return stage.run(config, workshop.paths, workshop.ports)


def tree(folder):
    """Content by relative path of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def first(workshop):
    """A workshop whose first version, of seed 1 and accuracy 0.7, is champion."""
    workshop.train(seed=1)
    workshop.evaluate(accuracy=0.7)
    register(workshop)
    return workshop


@pytest.fixture
def humble(workshop):
    """A workshop whose first version, worse than the most frequent class, stays challenger."""
    workshop.train(seed=1)
    workshop.evaluate(accuracy=0.6, other=0.45, majority=0.55)
    register(workshop)
    return workshop


@pytest.fixture
def unscored(workshop):
    """A workshop whose champion no label could score."""
    workshop.train(seed=1)
    workshop.evaluate(accuracy=None, other=None)
    register(workshop)
    return workshop


def test_without_a_registry_it_says_which_command_has_one(workshop):
    with pytest.raises(InputError, match="run `tessera register` or `tessera retrain`"):
        stage.run(workshop.config, workshop.paths, OFFLINE)


def test_it_reads_nothing_from_outside_the_chain(workshop):
    assert stage.sources(workshop.config, workshop.paths) == ()


def test_the_first_version_becomes_champion(first):
    assert first.registry.aliases == {"champion": "1"}
    assert first.registry.champion().model_digest == first.model_digest


def test_the_champions_artifact_is_laid_out_and_sealed(first):
    paths = first.paths

    model = load_artifact(paths.champion)

    assert model.digest == first.model_digest
    assert tree(paths.champion) == tree(paths.model)
    assert find_differences(paths.registration, Manifest.read(paths.registration)) == []
    assert "# tessera version 1" in (paths.registration / "card.md").read_text()


def test_tags_point_at_receipts_code_config_and_data(first):
    pretrain = json.loads(first.paths.receipt("pretrain").read_bytes())

    tags = first.registry.tags["1"]

    assert tags["tessera.model_digest"] == first.model_digest
    assert tags["tessera.git_commit"] == pretrain["code"]["commit"]
    assert tags["tessera.git_dirty"] == "false"
    assert tags["tessera.simulated"] == "true"
    assert tags["tessera.config_digest"] == first.config.digest
    assert tags["dvc.samples"] == "5a"
    assert tags["tessera.unscored"] == "false"
    assert tags["tessera.reasons"].startswith(
        "first version: there is no champion yet; burned beats the untrained encoder: accuracy"
    )
    for name in ("pretrain", "evaluate"):
        archived = first.paths.lineage / f"{tags[f'tessera.receipt.{name}']}.json"
        assert archived.read_bytes() == first.paths.receipt(name).read_bytes()


def test_running_twice_changes_nothing(first):
    before, writes = tree(first.root), first.registry.num_writes
    outcome = register(first)

    again = register(first)

    assert again == outcome
    assert tree(first.root) == before
    assert first.registry.num_writes == writes
    assert len(first.registry.versions) == 1


def test_facts_name_candidate_champion_decision_and_the_champions_receipts(first):
    pretrain = first.train(seed=2)
    evaluate = first.evaluate(accuracy=0.95)

    facts = register(first).facts

    described = {
        "version": "2", "model_digest": first.model_digest,
        "pretrain": pretrain.digest, "evaluate": evaluate.digest,
    }  # fmt: skip
    assert facts["model_name"] == "tessera"
    assert facts["candidate"] == described
    assert facts["champion"] == {**described, "simulated": True, "unscored": False}
    assert facts["decision"]["alias"] == "champion"
    assert facts["champion_receipts"] == {
        "pretrain": pretrain.digest, "evaluate": evaluate.digest,
    }  # fmt: skip


def test_a_better_version_takes_over(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.95)

    register(first)

    assert first.registry.aliases == {"champion": "2"}
    assert load_artifact(first.paths.champion).digest == first.model_digest
    assert "crop_type: accuracy 0.9" in first.registry.tags["2"]["tessera.reasons"]


def test_a_worse_version_challenges_and_the_champions_artifact_is_fetched(first):
    served = first.model_digest
    first.train(seed=2)
    first.evaluate(accuracy=0.6)

    facts = register(first).facts

    assert first.registry.aliases == {"champion": "1", "challenger": "2"}
    assert load_artifact(first.paths.champion).digest == served
    assert facts["candidate"]["model_digest"] == first.model_digest != served
    assert facts["champion"]["model_digest"] == served
    assert facts["champion"]["version"] == "1"
    assert (
        facts["champion_receipts"]["evaluate"]
        == first.registry.tags["1"]["tessera.receipt.evaluate"]
    )


def test_a_challenger_run_twice_changes_nothing_either(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.6)
    outcome = register(first)
    before, writes = tree(first.root), first.registry.num_writes

    assert register(first) == outcome
    assert tree(first.root) == before
    assert first.registry.num_writes == writes


def test_other_labels_make_a_challenger_with_the_reason_in_its_tags(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.97, labels="labels-2")

    register(first)

    assert first.registry.aliases["challenger"] == "2"
    assert "scored on other labels" in first.registry.tags["2"]["tessera.reasons"]
    assert "scored on other labels" in (first.paths.registration / "card.md").read_text()


def test_the_settings_of_the_rule_are_obeyed_and_a_looser_one_decides_again(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.95)

    register(first, ("max_time_ratio", 0.5))
    strict = dict(first.registry.aliases)
    register(first)

    assert strict == {"champion": "1", "challenger": "2"}
    assert first.registry.aliases == {"champion": "2"}
    assert len(first.registry.versions) == 2


def test_a_gain_on_one_task_does_not_pay_for_a_loss_on_another(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.95, other=0.5)

    facts = register(first).facts

    assert facts["decision"]["alias"] == "challenger"
    assert "burned may be worse by" in facts["decision"]["reasons"][0]
    assert facts["decision"]["numbers"]["tasks"]["crop_type"]["is_superior"]


def test_what_was_not_measured_holds_a_version_back_and_is_said(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.95)

    facts = stage.run(first.config, first.paths, first.ports).facts

    assert facts["decision"]["alias"] == "challenger"
    assert any("was not measured" in reason for reason in facts["decision"]["reasons"])


def test_a_champion_that_was_not_asked_the_same_cannot_be_beaten(first):
    served = first.registry.champion().model_digest
    first.train(seed=2)
    first.evaluate(accuracy=0.95)
    shutil.rmtree(first.paths.evaluation_of(served, PROTOCOL))

    facts = register(first).facts

    assert facts["decision"]["alias"] == "challenger"
    assert "was not asked these questions" in facts["decision"]["reasons"][0]


def test_samples_that_no_gate_passed_make_no_champion(workshop):
    workshop.train(seed=1)
    workshop.evaluate()
    for path in workshop.paths.lineage.glob("*.json"):
        if b'"verdict"' in path.read_bytes():
            path.unlink()

    facts = register(workshop).facts

    assert "quality gate of its samples was not checked" in facts["decision"]["reasons"][0]
    assert facts["champion"] is None
    assert workshop.registry.aliases == {"challenger": "1"}


def test_what_a_person_decided_is_not_undone_by_running_again(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.95)
    register(first)
    told = {"tessera.override": "Ann decided: seams in 2", "tessera.receipt.override": "a" * 64}
    first.registry.set_alias("champion", "1", told)

    facts = register(first).facts

    assert first.registry.aliases == {"champion": "1", "challenger": "2"}
    assert "Ann decided: seams in 2" in facts["decision"]["reasons"][0]
    assert facts["override"] == {"sentence": "Ann decided: seams in 2", "record": "a" * 64}


def test_a_new_version_may_take_over_from_what_a_person_chose(first):
    first.registry.set_alias("champion", "1", {"tessera.override": "Ann decided: it is stable"})
    first.train(seed=2)
    first.evaluate(accuracy=0.95)

    register(first)

    assert first.registry.aliases == {"champion": "2"}
    assert first.registry.champion().override == ""


def test_the_same_model_scored_anew_stays_champion_without_a_new_version(first):
    first.evaluate(accuracy=0.2)

    facts = register(first).facts

    assert first.registry.aliases == {"champion": "1"}
    assert len(first.registry.versions) == 1
    assert facts["decision"]["reasons"] == ["this model is the champion already"]


def test_a_known_challenger_scored_better_is_promoted_without_a_new_version(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.6)
    register(first)
    first.evaluate(accuracy=0.97)

    register(first)

    assert first.registry.aliases == {"champion": "2"}
    assert len(first.registry.versions) == 2


def test_when_others_moved_the_champion_since_the_decision_is_made_again(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.95)
    register(first)
    mine = first.model_digest
    first.registry.set_alias("champion", "1", {})

    facts = register(first).facts

    assert first.registry.aliases["champion"] == "2"
    assert facts["champion"]["model_digest"] == mine


def test_a_damaged_registration_folder_is_laid_out_again(first):
    (first.paths.champion / "norms.json").write_text("{}")

    register(first)

    assert load_artifact(first.paths.champion).digest == first.model_digest


def damage(folder, name="encoder.safetensors"):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", ["manifest.json", "encoder.safetensors"])
def test_a_changed_artifact_in_the_registry_is_refused(first, name):
    before = tree(first.paths.registration)
    first.train(seed=2)
    first.evaluate(accuracy=0.6)
    artifact = first.registry.artifact("1")
    if name == "manifest.json":
        manifest = json.loads((artifact / name).read_bytes())
        manifest["facts"]["embedding_dim"] = 64
        (artifact / name).write_text(json.dumps(manifest))
    else:
        damage(artifact)

    with pytest.raises(RecordError, match=r"version 1 .*Audit before going on"):
        register(first)

    assert tree(first.paths.registration) == before


def test_a_damaged_model_is_refused_before_the_registry_hears_of_it(first):
    first.train(seed=2)
    first.evaluate(accuracy=0.97)
    damage(first.paths.model)
    writes = first.registry.num_writes

    with pytest.raises(RecordError, match=r"encoder\.safetensors: content differs.*pretrain"):
        register(first)

    assert first.registry.num_writes == writes
    assert first.registry.aliases == {"champion": "1"}


@pytest.mark.parametrize("fate", ["lost", "changed"])
def test_a_champion_whose_receipt_the_lineage_cannot_vouch_for_is_refused(first, fate):
    receipt = first.registry.champion().receipt
    path = first.paths.lineage / f"{receipt}.json"
    content = path.read_bytes()
    path.unlink()
    if fate == "changed":
        path.write_bytes(content.replace(b'"simulated":true', b'"simulated":false'))
        assert path.read_bytes() != content
    first.train(seed=2)
    first.evaluate(accuracy=0.97)

    with pytest.raises(RecordError, match=f"{fate}.*tessera audit"):
        register(first)

    assert first.registry.aliases == {"champion": "1"}


def test_imported_weights_are_scored_for_the_first_time_under_the_version_they_have(workshop):
    workshop.train(seed=1)
    tags = {"tessera.model_digest": workshop.model_digest, "tessera.receipt.evaluate": ""}
    workshop.registry.register(workshop.paths.model, tags)
    scored = workshop.evaluate(accuracy=0.7)

    register(workshop)

    assert workshop.registry.aliases == {"champion": "1"}
    assert len(workshop.registry.versions) == 1
    assert workshop.registry.tags["1"]["tessera.receipt.evaluate"] == scored.digest
    assert workshop.registry.champion().receipt == scored.digest


def test_a_model_trained_here_challenges_imported_weights_by_the_same_rule(workshop):
    workshop.train(seed=1)
    tags = {"tessera.model_digest": workshop.model_digest, "tessera.receipt.evaluate": ""}
    workshop.registry.register(workshop.paths.model, tags)
    workshop.evaluate(accuracy=0.7)
    register(workshop)

    workshop.train(seed=2)
    workshop.evaluate(accuracy=0.6)
    register(workshop)

    assert workshop.registry.aliases == {"champion": "1", "challenger": "2"}


def registration(workshop):
    return json.loads((workshop.paths.registration / "registration.json").read_bytes())


def test_a_first_version_that_loses_to_a_baseline_stays_challenger_and_is_recorded(humble):
    record = registration(humble)

    assert humble.registry.aliases == {"challenger": "1"}
    assert record["champion"] is None
    assert record["decision"]["reasons"][0].startswith("burned loses to the most frequent class")
    assert "overrule this with `tessera promote`" in "; ".join(record["decision"]["reasons"])
    assert not humble.paths.champion.exists()
    assert "**challenger**" in (humble.paths.registration / "card.md").read_text()


def test_a_first_version_no_better_than_its_untrained_weights_stays_challenger(workshop):
    workshop.train(seed=1)
    workshop.evaluate(accuracy=0.7, other=0.7, untrained=0.7)

    facts = register(workshop).facts

    assert workshop.registry.aliases == {"challenger": "1"}
    assert facts["decision"]["reasons"][0].startswith("it beats the untrained encoder and")
    assert facts["decision"]["numbers"]["baselines"]["crop_type"]["untrained"]["gain"] == 0


def test_without_a_champion_running_twice_changes_nothing_either(humble):
    before, writes = tree(humble.root), humble.registry.num_writes

    outcome = register(humble)

    assert outcome.facts["champion"] is None
    assert outcome.facts["champion_receipts"] == {}
    assert tree(humble.root) == before
    assert humble.registry.num_writes == writes


def test_whom_a_person_promotes_without_a_champion_is_laid_out(humble):
    humble.registry.set_alias("champion", "1", {"tessera.override": "Ann decided: a start"})

    facts = register(humble).facts

    assert facts["champion"]["version"] == "1"
    assert facts["decision"]["reasons"] == ["Ann decided: a start"]
    assert load_artifact(humble.paths.champion).digest == humble.model_digest


def test_the_next_version_is_judged_as_the_first_where_none_has_earned_it(humble):
    humble.train(seed=2)
    humble.evaluate(accuracy=0.9, other=0.9)

    register(humble)

    assert humble.registry.aliases == {"challenger": "1", "champion": "2"}


def test_what_cannot_be_scored_may_serve_and_is_marked(unscored):
    record = registration(unscored)

    assert unscored.registry.aliases == {"champion": "1"}
    assert record["champion"]["unscored"] is True
    assert record["decision"]["numbers"]["unscored"] is True
    assert "unscored: no task could be scored" in unscored.registry.tags["1"]["tessera.reasons"]
    assert unscored.registry.tags["1"]["tessera.unscored"] == "true"
    assert "**Unscored**" in (unscored.paths.registration / "card.md").read_text()


@pytest.mark.parametrize(("accuracy", "serving"), [(0.9, "2"), (0.4, "1")])
def test_a_scored_version_takes_over_from_an_unscored_one_as_a_first_version_would(
    unscored, accuracy, serving
):
    unscored.train(seed=2)
    unscored.evaluate(accuracy=accuracy, other=accuracy)

    facts = register(unscored).facts

    assert unscored.registry.aliases["champion"] == serving
    assert facts["champion"]["unscored"] is (serving == "1")


def test_an_unscored_version_does_not_take_over_from_another(unscored):
    unscored.train(seed=2)
    unscored.evaluate(accuracy=None, other=None)

    register(unscored)

    assert unscored.registry.aliases == {"champion": "1", "challenger": "2"}


def test_an_unscored_champion_that_is_scored_later_is_no_longer_unscored(unscored):
    scored = unscored.evaluate(accuracy=0.9, other=0.9)

    facts = register(unscored).facts

    assert unscored.registry.tags["1"]["tessera.receipt.evaluate"] == scored.digest
    assert unscored.registry.tags["1"]["tessera.unscored"] == "false"
    assert facts["champion"]["unscored"] is False
    assert facts["decision"]["reasons"][:2] == [
        "this model is the champion already", "scored for the first time, it has earned its place",
    ]  # fmt: skip
