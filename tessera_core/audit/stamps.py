"""What of the chain was recalled: stamps of the lineage as findings."""

from collections.abc import Iterator, Mapping

from tessera_core.audit.outputs import RESTORE_LINEAGE, Verified
from tessera_core.audit.report import Finding, Grade
from tessera_core.errors import RecordError
from tessera_core.records.paths import Paths
from tessera_core.records.superseded import reasons_on, superseded_by


def check_stamps(chain: Mapping[str, Verified], paths: Paths) -> list[Finding]:
    """Warn of each receipt of a chain that a recall superseded.

    The evidence holds, and says of what is no longer to be used how it came to be.
    """
    return [finding for digest in chain for finding in _stamped(digest, chain[digest], paths)]


def _stamped(digest: str, each: Verified, paths: Paths) -> Iterator[Finding]:
    artefact = f"{each.receipt.stage} receipt {digest[:12]}"
    try:
        stamp = superseded_by(paths.lineage, digest)
        reasons = reasons_on(paths.lineage, digest)
    except RecordError as error:
        yield Finding(
            grade=Grade.BLOCK, artefact=artefact, problem=f"its stamp cannot be relied on: {error}",
            next_step=RESTORE_LINEAGE, concerns=(digest,),
        )  # fmt: skip
        return
    if stamp is None:
        return
    yield Finding(
        grade=Grade.WARN,
        artefact=artefact,
        problem=f"it is superseded: {reasons}",
        next_step=f"use what stands on receipt {stamp.replaced_by[:12]} instead"
        if stamp.replaced_by
        else "run the recall's plan with `tessera recall --run`; nothing takes its place yet",
        concerns=(digest,),
    )
