"""Attestations beside a chain: unsigned is a note, changed is broken evidence."""

import pytest

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tests.unit.lineage.audit.built import Run


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


@pytest.mark.parametrize("change", ["changed", "missing", "added"])
def test_a_signed_bundle_that_is_not_what_was_written_blocks_and_is_named(tmp_path, change):
    run = Run(root=tmp_path).cycle()
    (bundle,) = run.paths.attestations.glob("*/bundle.intoto.jsonl")
    victim = bundle
    if change == "changed":
        bundle.write_bytes(bundle.read_bytes() + b" ")
    elif change == "missing":
        bundle.unlink()
    else:
        victim = bundle.parent / "model-card.md"
        victim.write_bytes(b"a better card")

    (finding,) = audit(run).of(Grade.BLOCK)

    assert finding.artefact == victim.relative_to(tmp_path).as_posix()


def test_attestations_whose_manifest_cannot_be_read_are_a_warning_for_they_may_be_of_another(
    tmp_path,
):
    run = Run(root=tmp_path).cycle()
    run.artifact(run.paths.attestations / "other", "attestations", ["model-card.md"], {})
    (run.paths.attestations / "other/manifest.json").write_bytes(b"[" * 100_000)

    (finding,) = audit(run).findings

    assert finding.grade is Grade.WARN
    assert finding.artefact == "data/attestations/other/manifest.json"


def test_a_manifest_that_speaks_of_a_signature_without_a_bundle_signs_nothing(tmp_path):
    run = Run(root=tmp_path, is_signed=False).cycle()
    facts = {"model_digest": audit(run).subject["model_digest"], "signed_by": "a" * 64}
    run.artifact(run.paths.attestations / "a", "attestations", ["model-card.md"], facts)

    (finding,) = audit(run).findings

    assert "is not signed" in finding.problem
