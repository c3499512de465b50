"""The audit stage: receipts in, certificate out, and a gate that can say no."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tessera_core.errors import GateError, RecordError
from tessera_core.lineage.audit.certificate import TEXT_NAME, write_certificate
from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import AuditReport, Grade
from tessera_core.records.files import FileDigest, atomic_folder, digest_file
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences, write_manifest
from tessera_core.records.outcome import Outcome
from tessera_core.records.outside import data_folders
from tessera_core.records.paths import Paths

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.ports import Ports

MAX_NAMED: Final = 10
"""Blocking findings that the error message lists; the certificate has all."""


def sources(config: "PlatformConfig", paths: Paths) -> tuple[FileDigest, ...]:
    """Return nothing: what the audit reads is named by receipts."""
    return ()


def run(config: "PlatformConfig", paths: Paths, ports: "Ports") -> Outcome:
    """Audit the workspace and write the certificate, also when it fails.

    Raises:
        RecordError: Nothing was exported yet.
        GateError: Something blocks; the text names each artefact.
    """
    report = audit_workspace(config, paths)
    write_report(report, paths.audit)
    if not report.passed:
        raise GateError(refusal(report, paths.audit))
    return Outcome(outputs=(paths.audit / MANIFEST_NAME,), facts=facts_of(report))


def audit_workspace(config: "PlatformConfig", paths: Paths) -> AuditReport:
    """Verify everything behind the workspace's current export, afresh.

    Never reuses an earlier result: a byte may have changed since. Nothing is written.
    """
    path = paths.receipt("export")
    if not path.is_file():
        raise RecordError(
            f"there is no export to audit: {path} is missing; run `tessera export` first"
        )
    start = digest_file(path, paths.workspace).sha256
    return verify_chain(
        start, paths, require_sources=config.audit.require_sources,
        data=data_folders(config, paths.root),
    )  # fmt: skip


def write_report(report: AuditReport, target: Path) -> None:
    """Write the certificate of any audit into a folder of its own, whole or not at all."""
    with certificate_folder(report, target) as folder:
        write_certificate(report, folder)


@contextmanager
def certificate_folder(report: AuditReport, target: Path) -> Iterator[Path]:
    """Yield the folder of a certificate, which takes its place with a manifest, or not at all.

    An equal certificate that is there already stays untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tessera-audit-") as scratch:
        fresh = Path(scratch)
        yield fresh
        manifest = write_manifest(fresh, "audit", facts_of(report))
        if _holds(target, manifest):
            return
        with atomic_folder(target) as folder:
            shutil.copytree(fresh, folder, dirs_exist_ok=True)


def _holds(folder: Path, manifest: Manifest) -> bool:
    """Return whether a folder has what a manifest lists, to the byte, and the manifest itself."""
    try:
        same = Manifest.read(folder).to_dict() == manifest.to_dict()
    except RecordError:
        return False
    return same and not find_differences(folder, manifest)


def facts_of(report: AuditReport) -> dict[str, Any]:
    """Return what receipt and manifest of an audit say first."""
    counts = report.count_by_grade()
    return {
        "passed": report.passed,
        "export_receipt": report.start,
        "num_receipts": len(report.steps),
        "num_files": report.num_files,
        "num_bytes": report.num_bytes,
        **{f"num_{grade.lower()}": number for grade, number in counts.items()},
    }


def refusal(report: AuditReport, certificate: Path) -> str:
    """Return the text of the gate: what is broken, what to do, and where the certificate is."""
    blocking = report.of(Grade.BLOCK)
    lines = [f"the audit found {len(blocking)} thing(s) that break the chain of evidence:"]
    lines += [
        f"- {finding.artefact}: {finding.problem}; {finding.next_step}"
        for finding in blocking[:MAX_NAMED]
    ]
    if len(blocking) > MAX_NAMED:
        lines.append(f"- and {len(blocking) - MAX_NAMED} more")
    lines.append(f"Certificate: {certificate / TEXT_NAME}")
    return "\n".join(lines)
