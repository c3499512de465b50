"""One stage, twice: identical, equivalent or different, and where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tessera_core.errors import RecordError
from tessera_core.records.files import FileDigest, digest_file, read_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.receipt import Receipt

MAX_NAMED: Final = 5
"""Files that are named; the rest is counted."""


class Outcome(StrEnum):
    """How the second run of a stage compares to the first."""

    IDENTICAL = "identical"
    """Every output has the digest that the receipt names."""

    EQUIVALENT = "equivalent"
    """Other bytes, but within the tolerances for another device."""

    DIFFERS = "differs"
    """Something else came out."""

    FAILED = "failed"
    """The stage did not run through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReplay:
    """What came of one stage."""

    stage: str
    """Its name."""

    receipt: str
    """Digest of the receipt that was replayed."""

    outcome: Outcome
    """How it compares."""

    details: tuple[str, ...] = ()
    """Which files differ, or why it failed."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "stage": self.stage,
            "receipt": self.receipt,
            "outcome": self.outcome.value,
            "details": list(self.details),
        }


def compare_outputs(
    receipt: Receipt, workspace: Path, lineage: Path, judge: Callable[[Path], str | None]
) -> StageReplay:
    """Compare the outputs that a receipt names with those in a workspace.

    Args:
        receipt: Of the first run.
        workspace: Where the stage has run again.
        lineage: Where the manifests of the first run are kept by digest.
        judge: Folder of a model that differs -> how it compares within tolerances, or None
            where it is beyond them.

    Raises:
        RecordError: A manifest of the first run is gone from the lineage.
    """
    lines: list[str] = []
    is_equivalent = True
    for output in receipt.outputs:
        place = workspace / output.path
        if not place.is_file():
            lines.append(f"{output.path} was not made")
            is_equivalent = False
        elif digest_file(place, workspace).sha256 != output.sha256:
            lines += _differences(output, place, lineage)
            is_model = place.name == MANIFEST_NAME and Manifest.read(place.parent).kind == "model"
            said = judge(place.parent) if is_model else None
            is_equivalent = is_equivalent and said is not None
            lines += [said] if said else []
    outcome = (
        Outcome.IDENTICAL if not lines
        else Outcome.EQUIVALENT if is_equivalent
        else Outcome.DIFFERS
    )  # fmt: skip
    return StageReplay(
        stage=receipt.stage, receipt=receipt.digest, outcome=outcome, details=tuple(lines)
    )


def first_divergence(replays: Mapping[str, StageReplay]) -> str | None:
    """Return the first stage that does not hold, in the order given."""
    broken = (Outcome.DIFFERS, Outcome.FAILED)
    return next((name for name, one in replays.items() if one.outcome in broken), None)


def _differences(output: FileDigest, place: Path, lineage: Path) -> list[str]:
    """Return what differs inside a folder, by its two manifests; a single file differs as such."""
    if place.name != MANIFEST_NAME:
        return [f"{output.path}: other content"]
    kept = lineage / f"{output.sha256}.json"
    if not kept.is_file():
        raise RecordError(
            f"the manifest of {output.path} that the first run wrote is not in {lineage} "
            f"({output.sha256[:12]}); bring the lineage back from a backup"
        )
    before = Manifest.from_dict(read_json(kept), kept)
    after = Manifest.read(place.parent)
    old, new = ({file.path: file.sha256 for file in each.files} for each in (before, after))
    folder = Path(output.path).parent
    changed = [
        f"{folder / path}: "
        + ("not made again" if path not in new else "new" if path not in old else "other content")
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]
    if before.facts != after.facts:
        changed.append(f"{output.path}: other facts")
    hidden = len(changed) - MAX_NAMED
    return changed[:MAX_NAMED] + ([f"and {hidden} more in {folder}"] if hidden > 0 else [])
