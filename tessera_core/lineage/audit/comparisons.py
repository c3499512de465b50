"""What the promotion gate looked at: the champion's scores, and the comparison of two versions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import DIGITS_OF_NAME, Paths
from tessera_core.records.receipt import Receipt

FOLDERS: Final[Mapping[str, str]] = {
    "champion_evaluation": "evaluations",
    "comparison": "comparisons",
}
"""What a register receipt names as evidence -> folder of such records in ``data``."""

RESTORE_DECIDED: Final = (
    "bring it back from a backup: made again, it has another digest. The registration still says "
    "what was decided and by which numbers"
)


def check_comparisons(
    receipts: Mapping[str, Receipt], evidence: Evidence, paths: Paths
) -> list[Finding]:
    """Return what is wrong with the records that decisions of the chain were made from.

    They are named by the digest of their manifest: where none has it, the folders that carry the
    models' names were changed, manifest and all, and without such folders it is gone.
    """
    findings: list[Finding] = []
    for digest, receipt in receipts.items():
        named = receipt.facts.get("evidence") if receipt.stage == "register" else None
        candidate = str((receipt.facts.get("candidate") or {}).get("model_digest"))
        for what, expected in sorted((named or {}).items()):
            if what in FOLDERS and expected:
                findings += _check(what, str(expected), candidate, digest, evidence, paths)
    return findings


def _check(
    what: str, expected: str, candidate: str, digest: str, evidence: Evidence, paths: Paths
) -> Iterator[Finding]:
    place = paths.root / "data" / FOLDERS[what]
    folder = next((each for each in _folders(place) if _digest(each) == expected), None)
    if folder is None:
        names = [name for name in _names(what, candidate, paths) if (place / name).exists()]
        label = f"{what.replace('_', ' ')} {expected[:12]}"
        gone = (Grade.WARN, f"{label} in data/{FOLDERS[what]}", "it is gone")
        replaced = [
            (Grade.BLOCK, evidence.name(place / name), f"it is no longer {label}") for name in names
        ]
        for grade, artefact, state in replaced or [gone]:
            yield Finding(
                grade=grade,
                artefact=artefact,
                problem=f"the gate decided by it, and {state}",
                next_step=RESTORE_DECIDED,
                concerns=(digest,),
            )
        return
    evidence.digest(folder / MANIFEST_NAME)
    for path, state in evidence.differences(folder, Manifest.read(folder)):
        yield Finding(
            grade=Grade.BLOCK,
            artefact=evidence.name(path),
            problem=f"the gate decided by it, and it {state}",
            next_step=RESTORE_DECIDED,
            concerns=(digest,),
        )


def _names(what: str, candidate: str, paths: Paths) -> list[str]:
    """Return how the folders are called: champion, candidate and protocol, or without candidate."""
    compared = (paths.root / "data" / FOLDERS["comparison"]).glob(
        f"*-{candidate[:DIGITS_OF_NAME]}-*"
    )
    names = sorted(path.name for path in compared)
    if what == "comparison":
        return names
    return ["-".join(name.split("-")[::2]) for name in names]


def _folders(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.glob(f"*/{MANIFEST_NAME}"))


def _digest(folder: Path) -> str | None:
    """Return the digest of a folder's manifest, None where it is none."""
    try:
        return Manifest.read(folder).digest
    except RecordError:
        return None
