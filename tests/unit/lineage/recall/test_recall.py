"""A recall names everything that saw a scene, how much of it, and what has to run again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tessera_core.domain.scl import clear_mask
from tessera_core.errors import InputError
from tessera_core.lineage.recall.report import Recall, find_recall, render_text, write_recall
from tessera_core.lineage.recall.stamps import stamp_recalled
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.records.superseded import superseded_by
from tests.unit.lineage.recall.history import History, scene_id, two_tiles

WEST, EAST = two_tiles()
FIRST = scene_id(WEST, 0)
"""Clear everywhere in the tile west."""


@pytest.fixture
def history(repo: Path, tmp_path: Path) -> History:
    """One run of two tiles, released."""
    made = History(root=tmp_path, repo=repo)
    made.prepare([WEST, EAST])
    made.train("one")
    made.release("1")
    return made


def recall_of(history: History, what: str) -> Recall:
    return find_recall(what, history.config.to_dict(), history.paths)[0]


def receipts_of(recall: Recall) -> dict[str, list[str]]:
    return {
        what: [each.receipt for each in recall.of(what)]
        for what in ("samples", "shards", "model", "export")
    }


def expected_share(index: int) -> np.ndarray:
    """Share of usable observations that one optical date is of, per pixel, by plain loops."""
    clear = clear_mask(WEST.optical.scl)
    radar = [
        (series.backscatter_scaled_db != 0).any(axis=-1).sum(axis=0)
        for series in (WEST.ascending, WEST.descending)
    ]
    return clear[index] / (clear.sum(axis=0) + sum(radar))


# -- what saw it ------------------------------------------------------------------------------


def test_everything_that_stands_on_the_scene_is_named(history):
    found = receipts_of(recall_of(history, FIRST))

    assert found == {
        "samples": [history.receipts["ingest"]],
        "shards": [history.receipts["shuffle"]],
        "model": [history.receipts["pretrain"]],
        "export": [history.receipts["export"]],
    }


def test_a_run_without_the_scene_is_not_named(history):
    other = History(root=history.root, repo=history.repo, workspace=history.root / "data/runs/b")
    other.prepare([EAST])
    other.train("other")
    other.release("2")

    found = receipts_of(recall_of(history, FIRST))

    assert found["model"] == [history.receipts["pretrain"]]
    assert other.receipts["export"] not in found["export"]


def test_an_export_is_affected_by_the_champion_that_made_it_not_by_the_candidate(history):
    other = History(root=history.root, repo=history.repo, workspace=history.root / "data/runs/b")
    other.prepare([EAST])
    other.train("other")
    champion = {stage: history.receipts[stage] for stage in ("pretrain", "evaluate")}
    kept = other.release("2", champion=champion)

    (row,) = [each for each in recall_of(history, FIRST).of("export") if each.receipt == kept]

    assert row.ways == ("training",)
    assert row.facts["tiles"] == []


def test_a_model_that_was_taught_by_one_that_saw_it_is_named(history):
    teacher = Manifest.read(history.paths.model).digest
    other = History(root=history.root, repo=history.repo, workspace=history.root / "data/runs/b")
    other.prepare([EAST])
    other.train("pupil", taught_by=teacher)

    rows = {each.receipt: each.ways for each in recall_of(history, FIRST).of("model")}

    assert rows[other.receipts["pretrain"]] == ("teacher",)


def test_an_imported_model_has_not_seen_the_shards_beside_it(history):
    history.train("imported", imported="data/imported/student")

    found = receipts_of(recall_of(history, FIRST))

    assert history.receipts["pretrain"] not in found["model"]


@pytest.mark.parametrize("name", ["N0400", "04.00"])
def test_a_baseline_is_found_however_it_is_written(history, name):
    recall = recall_of(history, name)

    assert (recall.subject.kind, recall.subject.name) == ("baseline", "04.00")
    assert recall.of("samples")[0].facts["tiles"] == ["east", "west"]


def test_an_unknown_scene_is_refused_with_the_closest_name(history):
    with pytest.raises(InputError, match=f"Did you mean '{FIRST}'"):
        recall_of(history, FIRST[:-1])


def test_a_lineage_without_samples_says_so(repo, tmp_path):
    with pytest.raises(InputError, match="no samples yet"):
        recall_of(History(root=tmp_path, repo=repo), "anything")


# -- how much of it ---------------------------------------------------------------------------


def test_exposure_of_an_export_is_the_share_of_usable_observations(history):
    for index in (0, 3):
        recall = recall_of(history, scene_id(WEST, index))
        (tile,) = recall.of("export")[0].facts["tiles"]

        assert tile["tile"] == "west"
        assert tile["mean"] == pytest.approx(expected_share(index).mean())
        assert tile["max"] == pytest.approx(expected_share(index).max())


def test_exposure_of_a_model_is_the_share_of_train_pixels_that_could_see_it(history):
    shards = sorted(history.paths.shards.glob("train-*.parquet"))
    rows = [row for path in shards for row in pq.ParquetFile(path).read().to_pylist()]
    seen = [
        row
        for row in rows
        if row["tile"] == "west" and clear_mask(WEST.optical.scl)[3, row["row"], row["column"]]
    ]

    train = recall_of(history, scene_id(WEST, 3)).of("model")[0].facts["train"]

    assert (train["num_touched"], train["num_pixels"]) == (len(seen), len(rows))
    assert 0 < train["share"] < 1


def test_a_whole_tile_is_all_of_its_pixels(history):
    recall = recall_of(history, "west")

    (tile,) = recall.of("export")[0].facts["tiles"]
    assert (tile["mean"], tile["max"]) == (1.0, 1.0)


def test_pruned_content_is_said_with_its_digest(history):
    for path in history.paths.shards.glob("train-*.parquet"):
        path.unlink()
    samples = history.paths.samples / "tile=west/window=2022/samples.parquet"
    samples.unlink()

    recall = recall_of(history, FIRST)
    text = "\n".join(render_text(recall))

    listed = {f.path: f.sha256 for f in Manifest.read(history.paths.samples).files}
    digest = listed["tile=west/window=2022/samples.parquet"]
    assert recall.of("export")[0].pruned == (digest,)
    assert f"pruned, so not measured: {digest[:12]}" in text
    assert recall.of("model")[0].facts["train"] is None


def test_runs_whose_scenes_tables_are_pruned_are_called_undecided(history):
    other = History(root=history.root, repo=history.repo, workspace=history.root / "data/runs/b")
    other.prepare([EAST])
    shutil.rmtree(other.paths.samples)
    shutil.rmtree(history.paths.samples / "tile=east")

    recall = recall_of(history, FIRST)

    assert recall.undecided == (other.receipts["ingest"],)


# -- what to do -------------------------------------------------------------------------------


def test_the_plan_excludes_the_scene_and_names_the_tiles_that_stay(history):
    (rerun,) = recall_of(history, FIRST).plan.reruns

    assert rerun.workspace == "."
    assert rerun.overrides == (f'ingest.exclude=["{FIRST}"]',)
    assert (rerun.stages[0], rerun.stages[-1]) == ("ingest", "audit")
    assert "1 of 2 tiles" in rerun.reused[0]


def test_the_plan_keeps_what_was_excluded_before_and_other_settings(repo, tmp_path):
    made = History(root=tmp_path, repo=repo)
    made.prepare([WEST, EAST], exclude=("S2A_old",))
    made.train("one", seed=99)
    made.release("1")

    (rerun,) = recall_of(made, FIRST).plan.reruns

    assert rerun.overrides == (f'ingest.exclude=["S2A_old", "{FIRST}"]', "pretrain.seed=99")


def test_a_workspace_that_published_nothing_is_not_run_again(history):
    trial = History(root=history.root, repo=history.repo, workspace=history.root / "data/runs/t")
    trial.prepare([WEST])
    trial.train("trial")

    plan = recall_of(history, FIRST).plan

    assert [rerun.workspace for rerun in plan.reruns] == ["."]
    assert plan.without_rerun == ("data/runs/t",)


# -- the record and the stamps ----------------------------------------------------------------


def test_the_same_question_has_the_same_record(history):
    first = write_recall(recall_of(history, FIRST), history.paths)
    second = write_recall(recall_of(history, FIRST), history.paths)

    assert first == second
    assert json.loads(first.read_bytes())["subject"] == {"kind": "scene", "name": FIRST}
    assert first.parent.parent == history.root / "data/recalls"


def rerun(history: History, champion: dict[str, str] | None = None) -> History:
    """Run again without the tile west, in a workspace of its own."""
    made = History(root=history.root, repo=history.repo, workspace=history.root / "data/runs/new")
    made.prepare([EAST], exclude=("west",))
    made.train("two")
    made.release("2", champion=champion)
    return made


def stamp(history: History, made: History) -> list[str]:
    recall, found = find_recall("west", history.config.to_dict(), history.paths)
    replacements = {".": made.paths.workspace}
    _, kept = stamp_recalled(recall, found, replacements, history.paths)
    return kept


def test_what_is_replaced_is_stamped_and_stays_byte_for_byte(history):
    folder = history.paths.exports / "tessera-v1"
    manifest = json.loads(history.paths.receipt("export").read_bytes())["outputs"][0]["sha256"]
    made = rerun(history)

    kept = stamp(history, made)

    lineage = history.paths.lineage
    assert kept == []
    for digest in (history.receipts["export"], manifest):
        found = superseded_by(lineage, digest)
        assert found is not None
        assert found.replaced_by == made.receipts["export"]
        assert found.reason == "tile west was recalled"
    assert superseded_by(lineage, made.receipts["export"]) is None
    assert find_differences(folder, Manifest.read(folder)) == []


def test_after_stamping_nothing_has_to_run_again(history):
    stamp(history, rerun(history))

    recall = recall_of(history, "west")

    assert recall.plan.reruns == ()
    assert recall.of("export")[0].superseded == "tile west was recalled"


def test_a_recalled_champion_that_the_gate_keeps_is_told_and_not_called_replaced(history):
    champion = {stage: history.receipts[stage] for stage in ("pretrain", "evaluate")}
    made = rerun(history, champion)

    (kept,) = stamp(history, made)

    assert "version 1 has seen it and still serves" in kept
    found = superseded_by(history.paths.lineage, history.receipts["export"])
    assert found is not None
    assert found.replaced_by == ""
    assert [each.workspace for each in recall_of(history, "west").plan.reruns]


def test_a_changed_stamp_is_refused(history):
    stamp(history, rerun(history))
    path = next((history.paths.lineage / "superseded").glob(f"{history.receipts['export']}.*"))
    path.write_bytes(path.read_bytes().replace(b"tile west", b"tile east"))

    with pytest.raises(InputError, match="does not hash to its name"):
        superseded_by(history.paths.lineage, history.receipts["export"])


def test_a_lineage_file_that_was_changed_is_not_believed(history):
    path = history.paths.lineage / f"{history.receipts['export']}.json"
    path.write_bytes(path.read_bytes() + b" ")

    recall = recall_of(history, FIRST)

    assert recall.changed == (path.name,)
    assert recall.of("export") == []
