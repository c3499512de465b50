"""Process Run Crate 0.5: receipts, manifests and settings as one RO-Crate zip for an auditor."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from tessera_core.errors import RecordError
from tessera_core.lineage.attest.attested import Attested
from tessera_core.lineage.attest.intoto import BUILDER_ID
from tessera_core.lineage.audit.certificate import HTML_NAME, JSON_NAME
from tessera_core.records.evaluation import UNSCORED, is_unscored
from tessera_core.records.files import digest_file
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import DIGITS_OF_NAME, Paths

METADATA_NAME: Final = "ro-crate-metadata.json"
CRATE: Final = "https://w3id.org/ro/crate/1.1"
PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
TERMS: Final = "https://w3id.org/ro/terms/workflow-run/context"
LICENCE: Final = "#licence"
PARAMS_NAME: Final = "params.json"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The first time a zip can hold."""

Json = dict[str, Any]


def write_crate(subject: Attested, paths: Paths, times: Mapping[str, str]) -> bytes:
    """Return the zip.

    Args:
        subject: Version or export.
        paths: Where the certificate of the last audit is; taken in if it is of this export.
        times: Commit -> ISO 8601 time in UTC.
    """
    files = _files(subject, paths)
    metadata = {"@context": [f"{CRATE}/context", TERMS], "@graph": _graph(subject, files, times)}
    files[METADATA_NAME] = _pretty(metadata)
    buffer = io.BytesIO()
    # Stored, not deflated: compressors differ between builds of zlib, and bytes must not.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # else it tells which system wrote it
            archive.writestr(entry, content)
    return buffer.getvalue()


def receipt_name(stage: str, digest: str) -> str:
    """Return where a receipt lies in the crate."""
    return f"receipts/{stage}-{digest[:DIGITS_OF_NAME]}.json"


def _files(subject: Attested, paths: Paths) -> dict[str, bytes]:
    """Return the content of the crate but its metadata, by name."""
    files = {
        receipt_name(receipt.stage, digest): receipt.to_bytes()
        for digest, receipt in subject.receipts.items()
    }
    for kind, file in subject.manifest_files.items():
        files[f"manifests/{kind}.json"] = (paths.lineage / f"{file.sha256}.json").read_bytes()
    settings: Json = {}
    for receipt in subject.receipts.values():
        settings |= receipt.config
    return {**files, PARAMS_NAME: _pretty(settings), **_certificate(subject, paths)}


def _certificate(subject: Attested, paths: Paths) -> dict[str, bytes]:
    """Return the certificate where the last audit was of this export and is as it was written."""
    if not (paths.audit / MANIFEST_NAME).is_file():
        return {}
    try:
        manifest = Manifest.read(paths.audit)
    except RecordError as error:
        raise RecordError(
            f"{error}; delete the folder, `tessera retrain` writes it again"
        ) from error
    if manifest.facts.get("export_receipt") != subject.start:
        return {}
    listed = {file.path: file.sha256 for file in manifest.files}
    return {
        f"certificate/{name}": (paths.audit / name).read_bytes()
        for name in (JSON_NAME, HTML_NAME)
        if (paths.audit / name).is_file()
        and digest_file(paths.audit / name, paths.audit).sha256 == listed.get(name)
    }


def _graph(subject: Attested, files: Mapping[str, bytes], times: Mapping[str, str]) -> list[Json]:
    latest = max(times[commit] for commit in subject.commits)
    actions = [_action(subject, digest, times) for digest in subject.receipts]
    what = "export" if subject.is_export else "model"
    warning = " Simulated scenes: the numbers prove the machinery only." * subject.simulated
    if is_unscored(subject.stage("evaluate").facts):
        warning += f" The model is {UNSCORED}."
    return [
        {
            "@id": METADATA_NAME,
            "@type": "CreativeWork",
            "conformsTo": {"@id": CRATE},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "conformsTo": {"@id": PROFILE},
            "name": f"Lineage of {subject.name}",
            "description": f"Receipts and manifests of every stage behind the {what} "
            f"{subject.name}.{warning}",
            "datePublished": latest,
            "license": {"@id": LICENCE},
            "hasPart": [{"@id": name} for name in sorted(files)],
            "mentions": [{"@id": action["@id"]} for action in actions],
        },
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {
            "@id": LICENCE,
            "@type": "CreativeWork",
            "name": "No licence stated",
            "description": "The records of a run belong to whoever ran it; ask there.",
        },
        {
            "@id": BUILDER_ID,
            "@type": "SoftwareApplication",
            "name": "Tessera",
            "softwareVersion": " ".join(subject.commits),
        },
        *actions,
        *(_entity(name, content) for name, content in sorted(files.items())),
    ]


def _action(subject: Attested, digest: str, times: Mapping[str, str]) -> Json:
    """Return one stage run: earlier receipts and settings in, receipt and manifest out."""
    receipt = subject.receipts[digest]
    earlier = sorted(
        receipt_name(subject.receipts[each].stage, each)
        for each in receipt.upstream.values()
        if each in subject.receipts
    )
    made = {output.sha256 for output in receipt.outputs}
    manifests = sorted(
        f"manifests/{kind}.json"
        for kind, file in subject.manifest_files.items()
        if file.sha256 in made
    )
    return {
        "@id": f"#{receipt.stage}-{digest[:DIGITS_OF_NAME]}",
        "@type": "CreateAction",
        "name": f"Stage {receipt.stage}",
        "description": f"receipt {digest}",
        "instrument": {"@id": BUILDER_ID},
        "endTime": times[receipt.code.commit],
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "object": _references([PARAMS_NAME, *earlier]),
        "result": _references([receipt_name(receipt.stage, digest), *manifests]),
    }


def _references(names: list[str]) -> Json | list[Json]:
    """Return links to entities; a single one stands alone, as RO-Crate recommends."""
    links = [{"@id": name} for name in names]
    return links[0] if len(links) == 1 else links


def _entity(name: str, content: bytes) -> Json:
    return {
        "@id": name,
        "@type": "File",
        "name": name.rpartition("/")[2],
        "encodingFormat": "text/html" if name.endswith(".html") else "application/json",
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _pretty(value: Any) -> bytes:
    return f"{json.dumps(value, sort_keys=True, indent=1, allow_nan=False)}\n".encode()
