"""What of the chain was recalled, and whether every stamp of a recall is still there."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.audit.outputs import RESTORE_LINEAGE, Verified
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.paths import Paths
from tessera_core.records.superseded import FOLDER, Superseded, reasons_on, stamps_of, superseded_by


def check_stamps(chain: Mapping[str, Verified], evidence: Evidence, paths: Paths) -> list[Finding]:
    """Warn of each receipt of a chain that a recall superseded.

    The evidence holds, and says of what is no longer to be used how it came to be. A stamp that is
    gone or was changed blocks, whosever it is.
    """
    findings = list(_damaged(evidence, paths.lineage))
    for digest, each in chain.items():
        findings += _superseded(digest, each, paths.lineage)
    return findings


def _damaged(evidence: Evidence, lineage: Path) -> Iterator[Finding]:
    made, folder = stamps_of(lineage), lineage / FOLDER
    for name in sorted(made):
        try:
            Superseded.read(folder / name)
        except RecordError as error:
            yield Finding(
                grade=Grade.BLOCK, artefact=evidence.name(folder / name),
                problem=f"this stamp of a recall is gone or was changed: {error}",
                next_step=RESTORE_LINEAGE,
            )  # fmt: skip
    strangers = {path.name for path in folder.glob("*")} - made
    for name in sorted(strangers):
        yield Finding(
            grade=Grade.WARN,
            artefact=evidence.name(folder / name),
            problem="no record names this stamp: its recall was interrupted, or it is a stranger's",
            next_step="look for its recall in data/recalls; take away what no recall made",
        )


def _superseded(digest: str, each: Verified, lineage: Path) -> Iterator[Finding]:
    try:
        stamp = superseded_by(lineage, digest)
        reasons = reasons_on(lineage, digest)
    except RecordError:
        return  # one of its stamps is damaged, which was told
    if stamp is None:
        return
    yield Finding(
        grade=Grade.WARN,
        artefact=f"{each.receipt.stage} receipt {digest[:12]}",
        problem=f"it is superseded: {reasons}",
        next_step=f"use what stands on receipt {stamp.replaced_by[:12]} instead"
        if stamp.replaced_by
        else "run the recall's plan with `tessera recall --run`; nothing takes its place yet",
        concerns=(digest,),
    )
