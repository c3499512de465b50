"""A chain of which something was recalled since."""

import shutil

import pytest

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.superseded import Superseded, stamp_superseded
from tests.unit.lineage.audit.built import Run


def audit(run):
    return verify_chain(run.receipts["export"], run.paths, require_sources=True)


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path).cycle()


def stamp(run, stage, replaced_by, reason="scene X was recalled"):
    made = Superseded(
        digest=run.receipts.get(stage, stage), what=f"the {stage} of 2022", reason=reason,
        replaced_by=replaced_by, recall="c" * 64,
    )  # fmt: skip
    (path,) = stamp_superseded([made], run.paths.lineage)
    return path


@pytest.mark.parametrize(
    ("replaced_by", "advice"), [("d" * 64, "receipt dddddddddddd"), ("", "tessera recall --run")]
)
def test_what_a_recall_superseded_is_a_warning_that_says_what_to_use(run, replaced_by, advice):
    stamp(run, "pretrain", replaced_by)

    (finding,) = audit(run).findings

    assert finding.grade is Grade.WARN
    assert finding.artefact == f"pretrain receipt {run.receipts['pretrain'][:12]}"
    assert finding.problem == "it is superseded: scene X was recalled"
    assert advice in finding.next_step


def test_of_two_recalls_both_are_told_and_the_replacement_is_one_that_still_holds(run):
    stamp(run, "ingest", "d" * 64)
    stamp(run, "ingest", "e" * 64, "scene Y was recalled")
    stamp(run, "d" * 64, "e" * 64, "scene Y was recalled")

    (finding,) = audit(run).findings

    assert finding.problem == "it is superseded: scene X was recalled; scene Y was recalled"
    assert "receipt eeeeeeeeeeee" in finding.next_step


@pytest.mark.parametrize("stamped", ["export", "f" * 64], ids=["of this chain", "of another"])
@pytest.mark.parametrize("change", ["changed", "longer", "gone", "all gone"])
def test_a_stamp_that_was_changed_or_vanished_blocks_and_is_named(run, stamped, change):
    path = stamp(run, stamped, "d" * 64)
    if change == "changed":
        path.write_bytes(path.read_bytes().replace(b"scene X", b"scene Y"))
    elif change == "longer":
        path.write_bytes(path.read_bytes() + b"\n")
    elif change == "gone":
        path.unlink()
    else:
        shutil.rmtree(path.parent)

    (finding,) = audit(run).findings

    assert finding.grade is Grade.BLOCK
    assert finding.artefact == f"data/lineage/superseded/{path.name}"


def test_a_stamp_that_no_record_names_is_a_warning(run):
    (record,) = {path.name for path in stamped_record(run)}
    (run.paths.lineage / record).unlink()

    findings = audit(run).findings

    assert {finding.grade for finding in findings} == {Grade.WARN}
    assert findings[0].artefact.startswith("data/lineage/superseded/")


def stamped_record(run):
    """Stamp the export, and return what that adds to the lineage."""
    before = set(run.paths.lineage.glob("*.json"))
    stamp(run, "export", "d" * 64)
    return set(run.paths.lineage.glob("*.json")) - before


def test_a_stamp_on_another_run_is_no_finding(run):
    second = Run(root=run.root, mark="second", version="2")
    second.cycle()
    stamp(run, "pretrain", "d" * 64)

    assert audit(second).findings == ()
