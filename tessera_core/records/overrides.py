"""Decisions of people: a version that somebody made champion, as ``tessera promote`` writes it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from tessera_core.errors import RecordError
from tessera_core.records.files import parse_json
from tessera_core.records.lineage import stored_files

OVERRIDE: Final = "override"
"""Kind of the record."""

OVERRIDE_MARK: Final = f'"kind":"{OVERRIDE}"'.encode()
"""In canonical JSON, so without spaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One decision of a person."""

    model_name: str
    """Name in the registry."""

    version: str
    """Version that serves by this decision."""

    model_digest: str
    """Its artifact."""

    evaluate: str
    """Receipt of its scores."""

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
            evaluate=str(stored.get("evaluate", "")),
            before=None if before is None else str(before),
            previous=None if previous is None else str(previous),
            by=str(stored["by"]),
            reason=str(stored["reason"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record that the lineage keeps."""
        return {"kind": OVERRIDE, **asdict(self)}


def overrides_of(lineage: Path) -> dict[str, Override]:
    """Return all intact decisions of people by digest."""
    found = {}
    for stored in stored_files(lineage, OVERRIDE_MARK):
        if not stored.is_intact:
            continue
        try:
            found[stored.path.stem] = Override.from_dict(parse_json(stored.content, stored.path))
        except (KeyError, TypeError, RecordError):
            continue
    return found


def last_override(overrides: Mapping[str, Override], model_name: str) -> str | None:
    """Return the digest of the decision that no later one of the model names, None if none is."""
    own = {digest: each for digest, each in overrides.items() if each.model_name == model_name}
    earlier = {each.previous for each in own.values()}
    return next((digest for digest in sorted(own) if digest not in earlier), None)
