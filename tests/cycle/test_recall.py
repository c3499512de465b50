"""Recall and retention in a real checkout: run again without a scene, prune, restore."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cycle.conftest import dvc, make_checkout, run_in, tessera

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]

SCENE = "S1A_IW_GRDH_1SDV_20220102T164235_041324_rtc"
AUDIT_ALL = """
import json, sys
from pathlib import Path
from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.subject import find_export
from tessera_core.records.paths import Paths

paths = Paths(root=Path.cwd(), workspace=Path.cwd())
starts = []
for path in sorted(paths.lineage.glob("*.json")):
    record = json.loads(path.read_bytes())
    stage = record.get("stage") if isinstance(record, dict) else None
    if stage == "register":
        starts.append((path.stem, paths))
    elif stage == "export":
        published = find_export(record["facts"]["export"], paths)
        starts.append((published.start, published.paths))
reports = [verify_chain(start, where, require_sources=True) for start, where in starts]
failed = [each.findings for each in reports if not each.passed]
print(len(reports), failed)
sys.exit(1 if failed or not reports else 0)
"""


@pytest.fixture(scope="module")
def recalled(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which a scene was recalled after the first retrain."""
    folder = make_checkout(repo, tmp_path_factory.mktemp("recalled"))
    tessera(folder, "retrain")
    (folder / "answer.txt").write_text(tessera(folder, "recall", SCENE).stdout, encoding="utf-8")
    manifest = next(folder.glob("data/exports/*/manifest.json"))
    shutil.copy(manifest, folder / "export-before.json")
    # The gate may keep the first version: 24 steps are no training. Then a person decides.
    result = tessera(folder, "recall", SCENE, "--run", expect=None)
    if result.returncode == 3:
        assert "still serves" in result.stderr
        tessera(folder, "promote", "2", "--by", "Ann", "--reason", f"{SCENE} was recalled")
        result = tessera(folder, "recall", SCENE, "--run")
    (folder / "run.txt").write_text(result.stdout, encoding="utf-8")
    return folder


def stamps_of(checkout: Path) -> dict[str, dict[str, str]]:
    """Return the stamps that name a replacement, by what they are on."""
    found = [
        json.loads(path.read_bytes())
        for path in sorted((checkout / "data/lineage/superseded").glob("*.json"))
    ]
    return {stamp["digest"]: stamp for stamp in found if stamp["replaced_by"]}


def test_the_answer_names_samples_model_export_and_the_plan(recalled: Path) -> None:
    printed = (recalled / "answer.txt").read_text(encoding="utf-8")

    assert "(tessera/1) by training" in printed
    assert "of training d-pixels" in printed
    assert "of observations per pixel" in printed
    assert f"--set 'ingest.exclude=[\"{SCENE}\"]'" in printed


def test_the_new_chain_has_no_trace_of_the_scene_and_says_why(recalled: Path) -> None:
    (workspace,) = [p.parent for p in (recalled / "data/runs").glob("*/data") if p.is_dir()]
    receipt = (workspace / "data/receipts/ingest.json").read_text(encoding="utf-8")
    ingest = json.loads(receipt)

    assert ingest["config"]["ingest"]["exclude"] == [SCENE]
    assert not [source for source in ingest["sources"] if SCENE in source["path"]]
    overrides = ["--set", f'ingest.exclude=["{SCENE}"]']
    assert "passed" in tessera(recalled, "audit", *overrides).stdout


def test_superseded_receipts_and_exports_are_stamped_and_stay_as_they_were(recalled: Path) -> None:
    manifest = next(recalled.glob("data/exports/*/manifest.json"))
    receipt = json.loads((recalled / "data/receipts/export.json").read_bytes())
    stamps = stamps_of(recalled)

    stamp = stamps[receipt["outputs"][0]["sha256"]]
    assert manifest.read_bytes() == (recalled / "export-before.json").read_bytes()
    assert stamp["reason"] == f"scene {SCENE} was recalled"
    assert (recalled / f"data/lineage/{stamp['replaced_by']}.json").is_file()
    assert (
        json.loads((recalled / "data/receipts/pretrain.json").read_bytes())["facts"]["model_digest"]
        in stamps
    )
    tessera(recalled, "audit")


def test_a_recall_that_was_carried_out_has_nothing_left_to_run(recalled: Path) -> None:
    printed = tessera(recalled, "recall", SCENE).stdout

    assert "nothing has to run again" in printed
    assert f"superseded: scene {SCENE} was recalled" in printed


def test_after_gc_every_version_and_export_can_still_be_audited(recalled: Path) -> None:
    listed = tessera(recalled, "gc", "--dry-run").stdout
    assert (recalled / "data/cache").is_dir()

    tessera(recalled, "gc", "--delete")

    assert "data/checkpoints/" in listed
    assert not list((recalled / "data/checkpoints").glob("*"))
    check_every_release(recalled)


def test_samples_come_back_from_a_remote_and_the_audit_passes(recalled: Path) -> None:
    remote = recalled.parent / "remote"
    dvc(recalled, "remote", "add", "--force", "--local", "-d", "spare", str(remote))
    dvc(recalled, "push")
    shutil.rmtree(recalled / "data/samples")
    shutil.rmtree(recalled / ".dvc/cache")

    dvc(recalled, "pull")

    check_every_release(recalled)


def check_every_release(checkout: Path) -> None:
    """Audit from every register and export receipt of the lineage."""
    run_in(checkout, "-c", AUDIT_ALL)
    tessera(checkout, "audit")
