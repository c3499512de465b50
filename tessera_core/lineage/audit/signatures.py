"""Attestations beside the chain: whether a model is signed, and its documents are whole.

Whose signature it is, and whether it holds, needs a public key that the checkout's owner does not
control: `tessera verify` asks for one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import DIGITS_OF_NAME, Paths
from tessera_core.records.receipt import Receipt

BUNDLE_NAME: Final = "bundle.intoto.jsonl"
"""Where `tessera attest` puts the signed envelopes. Stated here too, as all that is audited."""


def check_signatures(
    receipts: Mapping[str, Receipt], evidence: Evidence, paths: Paths
) -> list[Finding]:
    """Return a note for each model of the chain that nobody signed; signing is optional.

    Attestations of these models that are there must be what their manifest lists.
    """
    models = {
        str(receipt.facts.get("model_digest")): digest
        for digest, receipt in receipts.items()
        if receipt.stage == "pretrain"
    }
    findings = []
    signed = set()
    for path in sorted(paths.attestations.glob(f"*/{MANIFEST_NAME}")):
        try:
            manifest = Manifest.read(path.parent)
        except RecordError as error:
            # Whose it is cannot be told, so no chain is broken by it.
            findings.append(replace(_broken(evidence.name(path), str(error)), grade=Grade.WARN))
            continue
        model = str(manifest.facts.get("model_digest"))
        if model not in models:
            continue
        findings += [
            _broken(evidence.name(file), f"the attestation {what}", models[model])
            for file, what in evidence.differences(path.parent, manifest)
        ]
        is_bundled = BUNDLE_NAME in {entry.path for entry in manifest.files}
        if manifest.facts.get("signed_by") and is_bundled:
            signed.add(model)
    return [*findings, *(_unsigned(each, models[each]) for each in sorted(models.keys() - signed))]


def _unsigned(model: str, digest: str) -> Finding:
    return Finding(
        grade=Grade.NOTE,
        artefact=f"model {model[:DIGITS_OF_NAME]}",
        problem="is not signed: its digest says what it is, nobody says who vouches for it",
        next_step="nothing, unless readers are to check who made it: `tessera attest --key FILE`",
        concerns=(digest,),
    )


def _broken(artefact: str, problem: str, *concerns: str) -> Finding:
    return Finding(
        grade=Grade.BLOCK,
        artefact=artefact,
        problem=problem,
        next_step="delete the folder and run `tessera attest` again; the same documents come back",
        concerns=concerns,
    )
