"""What the promotion gate looked at: the champion's scores, and the comparison of two versions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tessera_core.audit.evidence import Evidence
from tessera_core.audit.report import Finding, Grade
from tessera_core.errors import RecordError
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

FOLDERS: Final[Mapping[str, str]] = {
    "champion_evaluation": "evaluations",
    "comparison": "comparisons",
}
"""What a register receipt names as evidence -> folder of such records in ``data``."""


def check_comparisons(
    receipts: Mapping[str, Receipt], evidence: Evidence, paths: Paths
) -> list[Finding]:
    """Return what is wrong with the records that decisions of the chain were made from.

    They are named by the digest of their manifest, so one that was replaced is one that is gone.
    """
    findings: list[Finding] = []
    for digest, receipt in receipts.items():
        named = receipt.facts.get("evidence") if receipt.stage == "register" else None
        for what, expected in sorted((named or {}).items()):
            if what in FOLDERS and expected:
                findings += _check(what, str(expected), digest, evidence, paths)
    return findings


def _check(
    what: str, expected: str, digest: str, evidence: Evidence, paths: Paths
) -> Iterator[Finding]:
    place = paths.root / "data" / FOLDERS[what]
    folder = next((each for each in _folders(place) if _digest(each) == expected), None)
    if folder is None:
        others = ", ".join(each.name for each in _folders(place))
        yield Finding(
            grade=Grade.WARN,
            artefact=f"{what.replace('_', ' ')} {expected[:12]} in data/{FOLDERS[what]}",
            problem="the gate decided by it, and it is gone"
            + (f": {others} hold something else" if others else ""),
            next_step="bring it back from a backup; the registration still says what was decided "
            "and by which numbers",
            concerns=(digest,),
        )
        return
    evidence.digest(folder / MANIFEST_NAME)
    for path, state in evidence.differences(folder, Manifest.read(folder)):
        yield Finding(
            grade=Grade.BLOCK,
            artefact=evidence.name(path),
            problem=f"the gate decided by it, and it {state}",
            next_step="bring it back from a backup; delete its folder and `tessera compare` to "
            "make it again",
            concerns=(digest,),
        )


def _folders(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.glob(f"*/{MANIFEST_NAME}"))


def _digest(folder: Path) -> str | None:
    """Return the digest of a folder's manifest, None where it is none."""
    try:
        return Manifest.read(folder).digest
    except RecordError:
        return None
