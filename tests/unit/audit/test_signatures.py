"""Attestations beside a chain: unsigned is a note, changed is broken evidence."""

import pytest

from tessera_core.audit.chain import verify_chain
from tessera_core.audit.report import Grade
from tests.unit.audit.built import Run


def audit(run):
    return verify_chain(run.receipts["export"], run.paths, require_sources=True)


@pytest.mark.parametrize("signer", [None, ""])
def test_a_model_whose_attestations_nobody_signed_is_a_note(tmp_path, signer):
    run = Run(root=tmp_path, is_signed=False).cycle()
    facts = {"model_digest": audit(run).subject["model_digest"], "signed_by": signer}
    run.artifact(run.paths.attestations / "a", "attestations", ["model-card.md"], facts)

    (finding,) = audit(run).findings

    assert finding.grade is Grade.NOTE
    assert "is not signed" in finding.problem
    assert finding.concerns == (run.receipts["pretrain"],)


def test_attestations_of_another_model_do_not_sign_this_one(tmp_path):
    run = Run(root=tmp_path, is_signed=False).cycle()
    facts = {"model_digest": "b" * 64, "signed_by": "a" * 64}
    run.artifact(run.paths.attestations / "a", "attestations", ["model-card.md"], facts)

    (finding,) = audit(run).findings

    assert "is not signed" in finding.problem


@pytest.mark.parametrize("change", ["changed", "missing", "added", "no manifest"])
def test_a_signed_bundle_that_is_not_what_was_written_blocks_and_is_named(tmp_path, change):
    run = Run(root=tmp_path).cycle()
    (bundle,) = run.paths.attestations.glob("*/bundle.intoto.jsonl")
    victim = bundle
    if change == "changed":
        bundle.write_bytes(bundle.read_bytes() + b" ")
    elif change == "missing":
        bundle.unlink()
    elif change == "added":
        victim = bundle.parent / "model-card.md"
        victim.write_bytes(b"a better card")
    else:
        victim = bundle.parent / "manifest.json"
        victim.write_bytes(b"{}")

    (finding,) = audit(run).of(Grade.BLOCK)

    assert finding.artefact == victim.relative_to(tmp_path).as_posix()
