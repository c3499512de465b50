"""A chain of which something was recalled since."""

import pytest

from tessera_core.audit.chain import verify_chain
from tessera_core.audit.report import Grade
from tessera_core.records.superseded import Superseded, stamp_superseded
from tests.unit.audit.built import Run


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
    return stamp_superseded(made, run.paths.lineage)


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


def test_a_changed_stamp_blocks(run):
    path = stamp(run, "export", "d" * 64)
    path.write_bytes(path.read_bytes().replace(b"scene X", b"scene Y"))

    (finding,) = audit(run).findings

    assert finding.grade is Grade.BLOCK
    assert path.name in finding.problem


def test_a_stamp_on_another_run_is_no_finding(run):
    second = Run(root=run.root, mark="second", version="2")
    second.cycle()
    stamp(run, "pretrain", "d" * 64)

    assert audit(second).findings == ()
