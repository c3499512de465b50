"""What the lineage knows, found by content: receipts of a stage, decisions of people.

Only records that hash to their name are returned; one that does not is nobody's word.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tessera_core.errors import RecordError
from tessera_core.records.files import parse_json
from tessera_core.records.lineage import intact_files
from tessera_core.records.receipt import Receipt
from tessera_core.records.superseded import STAMPED

OVERRIDE_MARK: Final = b'"kind":"override"'
STAMPED_MARK: Final = f'"kind":"{STAMPED}"'.encode()
"""In canonical JSON, so without spaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A version that a person made champion, as ``tessera promote`` wrote it down."""

    model_name: str
    """Name in the registry."""

    version: str
    """Version that serves by this decision."""

    model_digest: str
    """Its artifact."""

    before: str | None
    """Version that served before, None where none did."""

    previous: str | None
    """Digest of the decision of a person before this one, None for the first."""

    by: str
    """Who decided."""

    reason: str
    """Why."""

    @property
    def sentence(self) -> str:
        """How register and the registry's tags tell it."""
        return f"{self.by} decided: {self.reason}"

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read a record of the lineage; raises KeyError or TypeError when it is none."""
        before, previous = stored["before"], stored.get("previous")
        return cls(
            model_name=str(stored["model_name"]),
            version=str(stored["version"]),
            model_digest=str(stored["model_digest"]),
            before=None if before is None else str(before),
            previous=None if previous is None else str(previous),
            by=str(stored["by"]),
            reason=str(stored["reason"]),
        )


def receipts_of(stage: str, lineage: Path) -> dict[str, Receipt]:
    """Return all intact receipts of a stage by digest, in the order of their digests."""
    found = {}
    for path, _ in intact_files(lineage, f'"stage":"{stage}"'.encode()):
        try:
            receipt = Receipt.read(path)
        except RecordError:
            continue
        if receipt.stage == stage:
            found[path.stem] = receipt
    return found


def overrides_of(lineage: Path) -> dict[str, Override]:
    """Return all intact decisions of people by digest."""
    found = {}
    for path, content in intact_files(lineage, OVERRIDE_MARK):
        try:
            found[path.stem] = Override.from_dict(parse_json(content, path))
        except (KeyError, TypeError, RecordError):
            continue
    return found


def stamps_of(lineage: Path) -> set[str]:
    """Return the names of all stamps that recalls have made, there or not."""
    found: set[str] = set()
    for path, content in intact_files(lineage, STAMPED_MARK):
        with contextlib.suppress(KeyError, TypeError, RecordError):
            found |= {str(name) for name in parse_json(content, path)["stamps"]}
    return found


def last_override(overrides: Mapping[str, Override], model_name: str) -> str | None:
    """Return the digest of the decision that no later one of the model names, None if none is."""
    own = {digest: each for digest, each in overrides.items() if each.model_name == model_name}
    earlier = {each.previous for each in own.values()}
    return next((digest for digest in sorted(own) if digest not in earlier), None)
