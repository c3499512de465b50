"""The folder of attestations: all documents, signed on demand, and their verification."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from tessera_core.errors import GateError, RecordError
from tessera_core.lineage.attest.cards import render_datasheet, render_model_card
from tessera_core.lineage.attest.crate import write_crate
from tessera_core.lineage.attest.croissant import describe_samples
from tessera_core.lineage.attest.cyclonedx import bill_of_materials
from tessera_core.lineage.attest.intoto import (
    PROVENANCE_TYPE,
    export_statement,
    reference_statement,
    training_statement,
)
from tessera_core.lineage.attest.openlineage import run_events
from tessera_core.lineage.attest.signing import key_id, open_envelope, sign
from tessera_core.records.files import (
    atomic_folder,
    canonical_json,
    digest_file,
    digest_json,
    digest_tree,
    parse_json,
    read_json,
)
from tessera_core.records.manifest import (
    MANIFEST_NAME,
    Manifest,
    find_differences,
    write_manifest,
)
from tessera_core.records.paths import DIGITS_OF_NAME, Paths

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

    from tessera_core.lineage.attest.attested import Attested

KIND: Final = "attestations"
BUNDLE_NAME: Final = "bundle.intoto.jsonl"
"""The signed envelopes, one a line, in the order of the statements' names."""

STATEMENT_END: Final = ".intoto.json"
SIGNER: Final = "signed_by"
REFERENCES_NAME: Final = f"references{STATEMENT_END}"
MEDIA: Final = {
    ".cdx.json": "application/vnd.cyclonedx+json",
    STATEMENT_END: "application/vnd.in-toto+json",
    ".json": "application/ld+json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".zip": "application/zip",
}


def write_attestations(
    subject: Attested,
    paths: Paths,
    times: Mapping[str, str],
    versions: Mapping[str, str],
    key: Ed25519PrivateKey | None = None,
) -> Path:
    """Write all documents of a subject and return their folder.

    The folder is named by the content, so nothing that was handed out is ever overwritten.

    Args:
        subject: Version or export.
        paths: Where folders of attestations are.
        times: Commit -> its time, ISO 8601 in UTC. Standards that demand a time are left out
            where a commit has none.
        versions: Package -> version; used where the digest in the receipts is of these.
        key: Signs the statements; None leaves them unsigned.
    """
    documents, left_out = _documents(subject, paths, times, versions)
    facts = {
        "subject": subject.name,
        "model_name": subject.model_name,
        "version": subject.version,
        "model_digest": subject.model_digest,
        "receipt": subject.start,
        "left_out": left_out,
    }
    statements = _statements(subject, documents, facts)
    content = {**documents, **statements}
    signer = None if key is None else key_id(key.public_key())
    if key is not None:
        lines = [canonical_json(sign(statements[name], key)) for name in sorted(statements)]
        content[BUNDLE_NAME] = b"".join(line + b"\n" for line in lines)
    digest = digest_json({name: _sha256(each) for name, each in content.items()})
    target = paths.attestations / f"{subject.name}-{digest[:DIGITS_OF_NAME]}"
    with atomic_folder(target) as folder:
        for name, each in content.items():
            (folder / name).write_bytes(each)
        write_manifest(folder, KIND, {**facts, SIGNER: signer})
    return target


def verify_attestations(
    folder: Path, key: Ed25519PublicKey, artifact: Path | None = None
) -> list[str]:
    """Verify a folder against the key of whoever is said to have signed it.

    Args:
        folder: What ``write_attestations`` wrote.
        key: Public key, from a source that the folder's sender does not control.
        artifact: Folder of the model or export, to compare with the signed digests.

    Returns:
        What was verified, a line each.

    Raises:
        RecordError: There is no folder of attestations.
        GateError: Something is forged, changed, unsigned or missing; each is named.
    """
    manifest = Manifest.read(folder)
    if manifest.kind != KIND:
        raise RecordError(f"{folder} holds {manifest.kind}, expected {KIND}")
    problems = find_differences(folder, manifest)
    statements, faults = _open_bundle(folder, key)
    problems += faults
    if not faults:
        problems += _unsigned(folder, statements, key)
    lines = [f"{len(statements)} statements signed by {key_id(key)[:DIGITS_OF_NAME]}"]
    if artifact is not None and not problems:
        subjects = [
            each
            for name, one in statements.items()
            if one["predicateType"] == PROVENANCE_TYPE and _is_about(name, artifact)
            for each in one["subject"]
        ]
        problems += _differing(subjects, artifact)
        lines.append(f"{len(subjects)} files of {artifact} are those that were signed")
    if not problems:
        lines.append(_signed_subject(statements[REFERENCES_NAME]))
    if problems:
        text = "\n".join(f"- {problem}" for problem in problems)
        raise GateError(f"these attestations cannot be relied on:\n{text}")
    return lines


def _documents(
    subject: Attested, paths: Paths, times: Mapping[str, str], versions: Mapping[str, str]
) -> tuple[dict[str, bytes], list[str]]:
    """Return every document but the statements by name, and which had to be left out."""
    documents = {
        "model-card.md": render_model_card(subject).encode(),
        "datasheet.md": render_datasheet(subject).encode(),
        "ml-bom.cdx.json": _pretty(bill_of_materials(subject, versions)),
        "croissant.json": _pretty(describe_samples(subject, times)),
    }
    if not all(commit in times for commit in subject.commits):
        return documents, ["openlineage.jsonl", "ro-crate.zip"]
    events = run_events(subject, times)
    documents["openlineage.jsonl"] = b"".join(canonical_json(event) + b"\n" for event in events)
    documents["ro-crate.zip"] = write_crate(subject, paths, times)
    return documents, []


def _statements(
    subject: Attested, documents: Mapping[str, bytes], facts: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the statements by file name; that of references speaks of all other files."""
    provenance = {f"provenance-training{STATEMENT_END}": training_statement(subject)}
    if subject.is_export:
        provenance[f"provenance-export{STATEMENT_END}"] = export_statement(subject)
    statements = {name: _pretty(statement) for name, statement in provenance.items()}
    described = {
        name: (_sha256(content), _media(name))
        for name, content in {**documents, **statements}.items()
    }
    references = reference_statement(subject, described, facts)
    return {**statements, REFERENCES_NAME: _pretty(references)}


def _open_bundle(folder: Path, key: Ed25519PublicKey) -> tuple[dict[str, Any], list[str]]:
    """Return the statements that the key has signed, by file name, and what is wrong."""
    path = folder / BUNDLE_NAME
    names = sorted(each.name for each in folder.glob(f"*{STATEMENT_END}"))
    if not path.is_file():
        return {}, [f"{path}: missing, so nothing is signed; `tessera attest --key` signs"]
    lines = path.read_bytes().splitlines()
    if len(lines) != len(names):
        return {}, [f"{path}: {len(lines)} envelopes for {len(names)} statements"]
    statements: dict[str, Any] = {}
    problems = []
    for name, line in zip(names, lines, strict=True):
        try:
            payload = open_envelope(_parsed(line), key)
        except GateError as error:
            problems.append(f"{path}: the envelope of {name} {error}")
            continue
        if payload != (folder / name).read_bytes():
            problems.append(f"{folder / name}: is not the statement that was signed")
            continue
        statements[name] = parse_json(payload, folder / name)
    return statements, problems


def _unsigned(folder: Path, statements: Mapping[str, Any], key: Ed25519PublicKey) -> list[str]:
    """Return a line for each thing that no signature covers, or covers with other content."""
    if REFERENCES_NAME not in statements:
        return [f"{folder / REFERENCES_NAME}: missing, so no signature covers the documents"]
    statement = statements[REFERENCES_NAME]
    references = statement["predicate"]["references"]
    signed = {each["downloadLocation"]: each["digest"]["sha256"] for each in references}
    found = {file.name for file in folder.iterdir()} - {REFERENCES_NAME, BUNDLE_NAME, MANIFEST_NAME}
    problems = [f"{folder / name}: signed, but missing" for name in sorted(signed.keys() - found)]
    for name in sorted(found):
        if name not in signed:
            problems.append(f"{folder / name}: no signature covers it")
        elif digest_file(folder / name, folder).sha256 != signed[name]:
            problems.append(f"{folder / name}: is not the document that was signed")
    facts = {**statement["subject"][0]["annotations"], SIGNER: key_id(key)}
    listed = tuple(file for file in digest_tree(folder, folder) if file.path != MANIFEST_NAME)
    expected = Manifest(kind=KIND, files=listed, facts=facts)
    if (folder / MANIFEST_NAME).read_bytes() != _pretty(expected.to_dict()):
        problems.append(f"{folder / MANIFEST_NAME}: is not the manifest of what was signed")
    return problems


def _signed_subject(references: Any) -> str:
    """Return what the signature speaks of, whatever the folder is called."""
    said = references["subject"][0]["annotations"]
    return (
        f"they speak of {said['subject']}: {said['model_name']} version {said['version']}, model "
        f"{str(said['model_digest'])[:DIGITS_OF_NAME]}"
    )


def _is_about(name: str, artifact: Path) -> bool:
    """Return whether a provenance speaks of a folder of this kind, model or export."""
    kind = read_json(artifact / MANIFEST_NAME).get("kind")
    return name.startswith("provenance-export") is bool(kind == "export")


def _differing(subjects: list[Any], artifact: Path) -> list[str]:
    """Return a line for each file that is not the signed one, not there or not signed."""
    signed = {each["name"]: each["digest"]["sha256"] for each in subjects}
    found = {
        path.relative_to(artifact).as_posix(): path
        for path in sorted(artifact.rglob("*"))
        if path.is_file()
    }
    gone = sorted(signed.keys() - found.keys())
    problems = [f"{artifact / name}: signed, but missing" for name in gone]
    for name, path in found.items():
        if name not in signed:
            problems.append(f"{path}: no signature covers it")
        elif digest_file(path, artifact).sha256 != signed[name]:
            problems.append(f"{path}: is not the file that was signed")
    return problems


def _parsed(line: bytes) -> Any:
    try:
        return parse_json(line, BUNDLE_NAME)
    except RecordError:
        return None


def _media(name: str) -> str:
    return next(media for end, media in MEDIA.items() if name.endswith(end))


def _pretty(value: Any) -> bytes:
    return f"{json.dumps(value, sort_keys=True, indent=1, allow_nan=False)}\n".encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
