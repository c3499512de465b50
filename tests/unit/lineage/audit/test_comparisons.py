"""What the promotion gate decided by is part of the evidence."""

import shutil

import pytest

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.manifest import Manifest
from tests.unit.lineage.audit.built import Run


@pytest.fixture
def run(tmp_path):
    """A run whose registration names what its decision was made from."""
    run = Run(root=tmp_path)
    run.prepare()
    run.train()
    data = tmp_path / "data"
    run.artifact(data / "comparisons/a-b-c", "comparison", ["comparison.json"])
    model = Manifest.read(run.paths.model).digest
    compared = data / f"comparisons/d-{model[:12]}-f"
    made = run.artifact(compared, "comparison", ["comparison.json", "bridge.st"])
    scored = run.artifact(data / "evaluations/d-f", "evaluation", ["predictions.parquet"])
    run.compared = {"comparison": made.digest, "champion_evaluation": scored.digest}
    run.release()
    return run


def audit(run):
    return verify_chain(run.receipts["export"], run.paths, require_sources=True)


def test_records_that_are_there_and_whole_are_no_finding_and_are_read(run):
    report = audit(run)

    assert report.findings == ()
    read = [path for path in run.evidence() if "a-b-c" not in path.parts]
    assert report.num_files == len(read)


@pytest.mark.parametrize("change", ["was changed", "is missing", "is not in its manifest"])
def test_a_changed_comparison_blocks_and_is_named(run, change):
    (path,) = run.root.glob("data/comparisons/d-*/comparison.json")
    if change == "was changed":
        path.write_bytes(b"{}")
    elif change == "is missing":
        path.unlink()
    else:
        path = path.with_name("other.json")
        path.write_bytes(b"{}")

    (finding,) = audit(run).findings

    assert finding.grade is Grade.BLOCK
    assert finding.artefact == path.relative_to(run.root).as_posix()
    assert change in finding.problem


@pytest.mark.parametrize("place", ["data/evaluations/d-f", "data/comparisons/d-*"])
@pytest.mark.parametrize(
    "content", [b"{}", b'{"kind": "other", "files": [], "facts": {}}', b"\xff"]
)
def test_one_that_was_changed_together_with_its_manifest_blocks_and_is_named(run, content, place):
    (folder,) = run.root.glob(place)
    (folder / "manifest.json").write_bytes(content)

    (finding,) = audit(run).findings

    assert finding.grade is Grade.BLOCK
    assert finding.artefact == folder.relative_to(run.root).as_posix()
    assert "it is no longer" in finding.problem


def test_one_that_is_gone_is_a_warning(run):
    shutil.rmtree(run.root / "data/evaluations/d-f")

    (finding,) = audit(run).findings

    assert finding.grade is Grade.WARN
    assert finding.artefact.startswith("champion evaluation ")
    assert "it is gone" in finding.problem
