"""What no audit needs may go, what one needs stays, and nothing else is ever touched."""

import csv
import fcntl
import json
import shutil
from pathlib import Path

import pytest

from tessera_core.errors import InputError
from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.lineage.retention.inventory import Inventory, Item
from tessera_core.lineage.retention.prune import delete, take_inventory
from tessera_core.lineage.retention.text import render_text
from tessera_core.records.files import digest_file, write_json
from tessera_core.records.lineage import read_lineage
from tessera_core.records.manifest import write_manifest
from tessera_core.records.outside import digest_source
from tessera_core.records.paths import Paths
from tests.unit.lineage.audit.built import Run, cache_workspace


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two runs, the first one only in DVC's cache."""
    first = Run(root=tmp_path, mark="first").cycle()
    cache_workspace(first.paths)
    return Run(root=tmp_path, mark="second", version="2").cycle()


def paths_of(items: tuple[Item, ...]) -> dict[str, str]:
    return {item.path: item.reason for item in items}


def prunable(paths: Paths) -> dict[str, str]:
    return paths_of(take_inventory(paths).prunable)


def checkpoint(paths: Paths, name: str, step: int, shards: str | None = None) -> Path:
    """Write a checkpoint's claim as training does; the run's settings are ``seed: 7``."""
    receipt = json.loads(paths.receipt("pretrain").read_bytes())
    identity = {
        "pretrain": {"seed": 7, "num_steps": 20},
        "shards": shards or receipt["facts"]["shards"],
    }
    folder = paths.checkpoints / name
    write_json(folder / f"step-{step:08d}.json", {"sha256": "0", "identity": identity})
    (folder / f"step-{step:08d}.pt").write_bytes(b"weights")
    return folder


def finish(paths: Paths, num_steps: int = 20) -> None:
    """Give the pretrain receipt the settings that the checkpoint has."""
    from dataclasses import replace

    from tessera_core.records.receipt import Receipt, write_receipt

    receipt = Receipt.read(paths.receipt("pretrain"))
    config = {"pretrain": {"seed": 7, "num_steps": num_steps}}
    write_receipt(replace(receipt, config=config), paths.receipt("pretrain"), paths.lineage)


def workspace(run: Run, name: str, status: str | None) -> Run:
    """A trial in a workspace of its own, with what its sweep says of it."""
    made = Run(root=run.root, workspace=run.root / "data/runs" / name, mark=name)
    made.prepare()
    if status is not None:
        table = run.paths.sweeps / name / "trials.csv"
        table.parent.mkdir(parents=True)
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["status", "workspace"])
            writer.writeheader()
            writer.writerow({"status": status, "workspace": f"data/runs/{name}"})
    return made


def test_caches_may_go(run):
    (run.paths.feed_cache / "abc" / "train").mkdir(parents=True)
    (run.paths.model_cache / "def").mkdir(parents=True)
    run.paths.baselines.mkdir()

    found = prunable(run.paths)

    assert {"data/cache/abc", "data/cache/models/def", "data/baselines"} <= found.keys()
    assert "data/cache/models" not in found


def test_a_cache_that_a_process_is_filling_stays(run):
    lock = run.paths.feed_cache / "abc" / ".train.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        assert "data/cache/abc" not in prunable(run.paths)


def test_checkpoints_of_a_finished_run_may_go_and_those_of_others_stay(run):
    finish(run.paths)
    checkpoint(run.paths, "done", 20)
    checkpoint(run.paths, "halfway", 10)
    checkpoint(run.paths, "unknown", 20, shards="9" * 64)

    inventory = take_inventory(run.paths)

    assert "data/checkpoints/done" in paths_of(inventory.prunable)
    stays = paths_of(inventory.staying)
    assert "unfinished" in stays["data/checkpoints/halfway"]
    assert "unfinished" in stays["data/checkpoints/unknown"]


def test_an_evaluation_that_no_receipt_names_may_go(run):
    folder = run.root / "data/evaluations/a-b"
    folder.mkdir(parents=True)
    write_manifest(folder, "evaluation", {})

    assert "no receipt" in prunable(run.paths)["data/evaluations/a-b"]


def test_an_evaluation_that_a_decision_rests_on_stays(run):
    from dataclasses import replace

    from tessera_core.records.receipt import Receipt, write_receipt

    folder = run.root / "data/evaluations/a-b"
    folder.mkdir(parents=True)
    manifest = write_manifest(folder, "evaluation", {})
    receipt = Receipt.read(run.paths.receipt("register"))
    facts = {**receipt.facts, "evidence": {"champion_evaluation": manifest.digest}}
    changed = replace(receipt, facts=facts)
    write_receipt(changed, run.paths.receipt("register"), run.paths.lineage)

    inventory = take_inventory(run.paths)

    assert "data/evaluations/a-b" not in paths_of(inventory.prunable)
    assert changed.digest[:12] in paths_of(inventory.staying)["data/evaluations/a-b"]


def test_only_workspaces_of_failed_trials_may_go(run):
    workspace(run, "failed", "failed")
    workspace(run, "done", "done")
    workspace(run, "plain", None)

    found = prunable(run.paths)

    assert "data/runs/failed" in found
    assert not {"data/runs/done", "data/runs/plain"} & found.keys()


def test_a_failed_trial_with_the_only_copy_of_something_needed_stays(run):
    # A version stands on its shards, and nobody else has them.
    trial = workspace(run, "failed", "failed")
    run.receipts |= trial.receipts
    run.record(
        "pretrain", ("shuffle",), [],
        {"model_digest": "m" * 64, "shards": "s" * 64},
    )  # fmt: skip
    run.record("register", ("pretrain", "evaluate"), [], {})

    inventory = take_inventory(run.paths)

    assert "data/runs/failed" not in paths_of(inventory.prunable)
    assert "only copy" in paths_of(inventory.staying)["data/runs/failed"]


def test_a_failed_trial_whose_model_taught_another_run_stays(run):
    trial = workspace(run, "failed", "failed")
    teacher = trial.artifact(trial.paths.model, "model", ["encoder.safetensors"])
    taught = digest_source(trial.paths.model / "manifest.json", run.root)
    run.record("pretrain", ("shuffle",), [], {"model_digest": teacher.digest}, (taught,))

    inventory = take_inventory(run.paths)

    assert "data/runs/failed" not in paths_of(inventory.prunable)
    assert "started from" in paths_of(inventory.staying)["data/runs/failed"]


def test_a_run_that_the_quality_gate_refused_may_go(run):
    folder = run.root / "data/runs/refused/data/quality"
    folder.mkdir(parents=True)
    write_manifest(folder, "quality", {"verdict": "failed"})

    assert "data/runs/refused" in prunable(run.paths)


def test_objects_that_nothing_names_may_go_and_named_ones_stay(run):
    nobodys = run.paths.dvc_cache / "ab" / ("c" * 30)
    locked = run.paths.dvc_cache / "ab" / ("d" * 30)
    nobodys.parent.mkdir(parents=True, exist_ok=True)
    nobodys.write_bytes(b"nobody's")
    locked.write_bytes(b"locked")
    lock = f"stages: {{ingest: {{outs: [{{path: x, md5: ab{'d' * 30}}}]}}}}\n"
    (run.root / "dvc.lock").write_text(lock, encoding="utf-8")
    directory = run.paths.dvc_cache / "ef" / f"{'0' * 30}.dir"
    samples = digest_file(run.paths.samples / "tile=a/window=2022/samples.parquet", run.root)
    write_json(directory, [{"md5": samples.md5, "relpath": "x"}])

    found = prunable(run.paths)

    where = ".dvc/cache/files/md5"
    assert f"{where}/ab/{'c' * 30}" in found
    assert f"{where}/ab/{'d' * 30}" not in found
    assert f"{where}/ef/{'0' * 30}.dir" not in found


def test_after_deleting_every_version_and_export_can_still_be_audited(run):
    finish_cache(run)
    inventory = take_inventory(run.paths)

    freed = delete(inventory, run.paths)

    assert freed == sum(item.size for item in inventory.prunable) > 0
    assert not any((run.root / item.path).exists() for item in inventory.prunable)
    assert all((run.root / item.path).exists() for item in inventory.staying)
    lineage = read_lineage(run.paths.lineage)
    starts = [*lineage.of_stage("register"), *lineage.of_stage("export")]
    assert len(starts) == 4
    for start in starts:
        report = verify_chain(start, run.paths, require_sources=False)
        assert report.of(Grade.BLOCK) == []
    assert prunable(run.paths) == {}


def finish_cache(run: Run) -> None:
    """Add something of every sort that may go."""
    (run.paths.feed_cache / "abc").mkdir(parents=True)
    (run.paths.feed_cache / "abc" / "train").write_bytes(b"1" * 100)
    workspace(run, "failed", "failed")
    nobodys = run.paths.dvc_cache / "ab" / ("c" * 30)
    nobodys.parent.mkdir(parents=True, exist_ok=True)
    nobodys.write_bytes(b"nobody's")


@pytest.mark.parametrize("path", ["../elsewhere", "tessera_core", "data", ".dvc/cache", ".git"])
def test_nothing_outside_the_data_folders_is_ever_deleted(run, path):
    (run.root / path).mkdir(parents=True, exist_ok=True)
    cache = run.paths.feed_cache / "abc"
    cache.mkdir(parents=True)
    items = tuple(Item(path=each, size=0, reason="") for each in ("data/cache/abc", path))

    with pytest.raises(InputError, match="and nothing else"):
        delete(Inventory(prunable=items, staying=()), run.paths)

    assert cache.is_dir()
    assert (run.root / path).exists()


def test_a_link_out_of_the_data_folder_is_not_followed(run, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    run.paths.feed_cache.mkdir(parents=True)
    (run.paths.feed_cache / "abc").symlink_to(outside)

    with pytest.raises(InputError, match="and nothing else"):
        delete(take_inventory(run.paths), run.paths)

    assert outside.is_dir()


def test_without_a_whole_lineage_nothing_may_go(run):
    (run.paths.lineage / f"{run.receipts['export']}.json").write_bytes(b"{}")
    with pytest.raises(InputError, match="was changed"):
        take_inventory(run.paths)

    shutil.rmtree(run.paths.lineage)
    with pytest.raises(InputError, match="holds no receipt"):
        take_inventory(run.paths)


def test_the_list_says_what_goes_what_stays_and_why(run):
    (run.paths.feed_cache / "abc").mkdir(parents=True)

    text = "\n".join(render_text(take_inventory(run.paths)))

    assert "data/cache/abc: unpacked shards" in text
    assert f"data/samples: named by ingest receipt {run.receipts['ingest'][:12]}" in text
    assert "--delete removes exactly that" in text


@pytest.mark.parametrize("content", ["", "- a\n", "stages: {ingest: 5}\n", "outs: 5\n", "a: [\n"])
def test_a_lock_that_cannot_be_read_stops_with_its_name(run, content):
    (run.root / "dvc.lock").write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match=r"dvc\.lock cannot be read, so nobody can tell"):
        take_inventory(run.paths)
