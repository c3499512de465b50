"""Decisions of people, and evaluations that a decision should have had."""

import pytest

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.files import canonical_json, digest_json, write_atomically
from tessera_core.records.manifest import Manifest
from tests.unit.lineage.audit.built import Run


def audit(run):
    return verify_chain(run.receipts["export"], run.paths, require_sources=True)


def decide(run, *, by="Ann", reason="seams in 2", previous=None, version="1"):
    """Write a decision of a person as ``tessera promote`` does; return its digest."""
    record = {
        "kind": "override", "model_name": "tessera", "version": version, "before": "2",
        "model_digest": Manifest.read(run.paths.model).digest, "evaluate": "e" * 64,
        "previous": previous, "by": by, "reason": reason,
    }  # fmt: skip
    digest = digest_json(record)
    write_atomically(run.paths.lineage / f"{digest}.json", canonical_json(record))
    return digest


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path).cycle()


def test_a_decision_of_a_person_is_a_note_with_who_and_why(run):
    decide(run)

    (finding,) = audit(run).findings

    assert finding.grade is Grade.NOTE
    assert "Ann decided: seams in 2" in finding.problem
    assert "before it version 2 served" in finding.problem


def test_a_changed_decision_blocks_and_is_named(run):
    path = run.paths.lineage / f"{decide(run)}.json"
    path.write_bytes(path.read_bytes().replace(b"Ann", b"Bob"))

    (finding,) = audit(run).findings

    assert (finding.grade, finding.artefact) == (Grade.BLOCK, f"data/lineage/{path.name}")


def test_a_decision_that_a_later_one_names_may_not_be_missing(run):
    first = decide(run)
    decide(run, by="Bob", previous=first)
    (run.paths.lineage / f"{first}.json").unlink()

    (finding,) = audit(run).of(Grade.BLOCK)

    assert finding.artefact == f"data/lineage/{first}.json"


def test_a_registration_that_tells_of_a_decision_needs_its_record(tmp_path):
    run = Run(root=tmp_path)
    run.prepare()
    run.train()
    run.decided = "Ann decided: seams in 2"
    run.release()

    (finding,) = audit(run).of(Grade.BLOCK)
    decide(run)

    assert "the lineage has no record of that decision" in finding.problem
    assert audit(run).of(Grade.BLOCK) == []


def test_a_registration_that_names_a_decision_needs_that_very_record(tmp_path):
    run = Run(root=tmp_path)
    run.prepare()
    run.train()
    digest = decide(run)
    (run.paths.lineage / f"{digest}.json").unlink()
    run.overridden = {"sentence": "Ann decided: seams in 2", "record": digest}
    run.release()

    (finding,) = audit(run).of(Grade.BLOCK)
    decide(run, reason="something else")
    (other,) = audit(run).of(Grade.BLOCK)
    decide(run)

    assert "'Ann decided: seams in 2', but the lineage has no record" in finding.problem
    assert other == finding
    assert audit(run).of(Grade.BLOCK) == []


def test_the_words_of_a_reason_make_no_decision_of_a_person(tmp_path):
    run = Run(root=tmp_path)
    run.prepare()
    run.train()
    run.decided = "the committee decided: by the rule"
    facts = run.decision(run, Manifest.read(run.paths.model).digest)
    for told in ({}, {"override": None}):
        run.record("register", ("pretrain", "evaluate"), [], {**facts, **told})
        run.record("export", ("ingest", "register"), [], {})

        found = [each.problem for each in audit(run).of(Grade.BLOCK)]

        assert any("no record of that decision" in each for each in found) == (told == {})


def test_a_missing_evaluation_blocks(tmp_path):
    run = Run(root=tmp_path)
    run.prepare()
    run.train()
    run.release()
    run.record("register", ("pretrain",), [], {})
    run.record("export", ("ingest", "register"), [], {})

    problems = [finding.problem for finding in audit(run).of(Grade.BLOCK)]

    assert "it names no receipt of evaluate" in problems


def test_one_number_for_two_models_blocks_and_names_both(run):
    workspace = run.root / "data" / "runs" / "another"
    other = Run(root=run.root, workspace=workspace, mark="another")
    other.prepare()
    other.train()
    served = Manifest.read(other.paths.model).digest
    other.record("register", ("pretrain", "evaluate"), [], other.decision(other, served))

    found = {each.artefact: each for each in audit(run).of(Grade.BLOCK)}
    finding = found["version 1 of tessera"]
    assert served[:12] in finding.problem
    assert "knows 2 models by this number" in finding.problem
