"""What DVC's lock and pointer files say, against the receipts."""

import hashlib

import pytest

from tessera_core.lineage.audit.locks import check_lock, check_pointer_file, expected_md5s, made_at
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.receipt import Receipt
from tests.unit.lineage.audit.built import Run


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path).cycle()


def lock_of(run):
    """Return the lock as DVC writes it after a run."""
    lineage = run.paths.lineage
    stages = {}
    for stage in ("ingest", "quality", "shuffle"):
        receipt = Receipt.read(run.paths.receipt(stage))
        md5s = expected_md5s(receipt.digest, receipt, lineage)
        deps = {
            path: md5
            for earlier in receipt.upstream
            for path, md5 in stages[earlier]["outs"].items()
        }
        stages[stage] = {"outs": md5s, "deps": deps, "params": dict(receipt.config)}
    return {
        "stages": {
            stage: {
                **{
                    side: [{"path": path, "md5": md5} for path, md5 in entry[side].items()]
                    for side in ("outs", "deps")
                },
                "params": {"params.yaml": entry["params"]},
            }
            for stage, entry in stages.items()
        }
    }


def test_a_lock_of_the_run_gives_no_finding_and_folders_hash_as_dvc_hashes_them(run):
    md5s = {out["path"]: out["md5"] for out in lock_of(run)["stages"]["shuffle"]["outs"]}

    assert check_lock("dvc.lock", lock_of(run), run.paths.lineage) == []
    files = sorted(run.paths.shards.iterdir())
    listed = ", ".join(
        f'{{"md5": "{hashlib.md5(path.read_bytes()).hexdigest()}", "relpath": "{path.name}"}}'
        for path in files
    )
    assert md5s["data/shards"] == f"{hashlib.md5(f'[{listed}]'.encode()).hexdigest()}.dir"


@pytest.mark.parametrize(("side", "path"), [("outs", "data/shards"), ("deps", "data/samples")])
def test_an_edited_md5_blocks_with_its_name_and_both_values(run, side, path):
    lock = lock_of(run)
    (entry,) = [one for one in lock["stages"]["shuffle"][side] if one["path"] == path]
    was, entry["md5"] = entry["md5"], "0" * 32

    (finding,) = check_lock("dvc.lock", lock, run.paths.lineage)

    assert finding.artefact == f"dvc.lock, shuffle, {path}"
    assert repr("0" * 32) in finding.problem
    assert was in finding.problem


def test_a_lock_that_names_no_known_receipt_or_other_settings_blocks(run):
    lock = lock_of(run)
    lock["stages"]["quality"]["params"]["params.yaml"]["quality"] = {"seed": 8}
    for out in lock["stages"]["ingest"]["outs"]:
        if out["path"] == "data/receipts/ingest.json":
            out["md5"] = "0" * 32

    artefacts = [finding.artefact for finding in check_lock("dvc.lock", lock, run.paths.lineage)]

    assert artefacts == [
        "dvc.lock, ingest, data/receipts/ingest.json",
        "dvc.lock, quality, params.yaml quality.seed",
    ]


def test_a_lock_of_an_earlier_run_is_no_finding(run):
    lock = lock_of(run)
    Run(root=run.root, mark="second", version="2").cycle()

    assert check_lock("dvc.lock", lock, run.paths.lineage) == []


def test_a_pointer_file_may_name_what_any_run_made_at_its_place(run):
    first = made_at(run.paths.lineage)
    Run(root=run.root, mark="second", version="2").cycle()
    (md5,) = first["data/shards"]

    found = check_pointer_file("shards.dvc", pointer(md5), made_at(run.paths.lineage))

    assert found == []
    assert len(made_at(run.paths.lineage)["data/shards"]) == 2


def test_a_pointer_file_that_names_what_nobody_made_blocks(run):
    made = made_at(run.paths.lineage)

    (finding,) = check_pointer_file("data/runs/x/data/shards.dvc", pointer("0" * 32), made)

    assert finding.grade is Grade.BLOCK
    assert finding.artefact == "data/runs/x/data/shards.dvc, data/shards"


def test_a_pointer_to_what_no_receipt_tells_of_is_no_finding(run):
    content = {"outs": [{"path": "training", "md5": "0" * 32}]}

    assert check_pointer_file("training.dvc", content, made_at(run.paths.lineage)) == []


def pointer(md5):
    return {"outs": [{"path": "shards", "md5": md5}]}
