"""Stamps on what was recalled: append-only records beside it, never a change of it.

``data/lineage/superseded/<digest of what>.<digest of the stamp>.json``: one look at a folder says
whether a receipt or an export was recalled, and the artifact itself stays byte for byte what its
manifest says.
"""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tessera_core.errors import RecordError
from tessera_core.records.files import (
    canonical_json,
    digest_json,
    parse_json,
    read_json,
    write_atomically,
)
from tessera_core.records.lineage import stored_files

KIND = "superseded"
FOLDER = "superseded"
STAMPED = "stamped"
"""Kind of the record that names the stamps of one recall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """One stamp."""

    digest: str
    """Of a receipt, of an export's manifest file, or of a model artifact."""

    what: str
    """What that is, for people."""

    reason: str
    """Why it should no longer be used."""

    replaced_by: str
    """Digest of the receipt that takes its place; empty while nothing does."""

    recall: str
    """Digest of the recall that found it."""

    def to_bytes(self) -> bytes:
        """Return the canonical bytes that are stored and hashed."""
        return canonical_json({"kind": KIND, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a stamp; raises RecordError when it is malformed or not what its name says."""
        stored = read_json(path)
        try:
            stamp = cls(**{name: value for name, value in stored.items() if name != "kind"})
        except (TypeError, AttributeError) as error:
            raise RecordError(f"{path} is not a stamp: {error}") from error
        if path.name != _name(stamp) or path.read_bytes() != stamp.to_bytes():
            raise RecordError(f"{path} was changed: it does not hash to its name")
        return stamp


def stamp_superseded(stamps: Sequence[Superseded], lineage: Path) -> list[Path]:
    """Store stamps, and last a record in the lineage that names them: none can vanish unseen.

    The same ones again change nothing.
    """
    paths = [lineage / FOLDER / _name(stamp) for stamp in stamps]
    for path, stamp in zip(paths, stamps, strict=True):
        if not path.exists():
            write_atomically(path, stamp.to_bytes())
    record = {"kind": STAMPED, "stamps": sorted(path.name for path in paths)}
    archived = lineage / f"{digest_json(record)}.json"
    if stamps and not archived.exists():
        write_atomically(archived, canonical_json(record))
    return paths


def superseded_by(lineage: Path, digest: str) -> Superseded | None:
    """Return the stamp on a receipt, an export's manifest or a model that says what to use now.

    Of several, one whose replacement was not superseded itself goes first, then one that names a
    replacement.

    Args:
        lineage: Folder of all receipts.
        digest: sha256 of the receipt or of the export's manifest file, or the model's digest.

    Raises:
        RecordError: A stamp was changed.
    """
    stamps = _stamps_on(lineage, digest)
    named = [stamp for stamp in stamps if stamp.replaced_by]
    lasting = [stamp for stamp in named if not _stamps_on(lineage, stamp.replaced_by)]
    return next(iter([*lasting, *named, *stamps]), None)


def reasons_on(lineage: Path, digest: str) -> str:
    """Return why something is superseded, by each recall that it saw; empty where none did.

    Raises:
        RecordError: A stamp was changed.
    """
    return "; ".join(sorted({stamp.reason for stamp in _stamps_on(lineage, digest)}))


def stamps_of(lineage: Path) -> set[str]:
    """Return the names of all stamps that recalls have made, there or not."""
    found: set[str] = set()
    for stored in stored_files(lineage, f'"kind":"{STAMPED}"'.encode()):
        with contextlib.suppress(KeyError, TypeError, RecordError):
            if stored.is_intact:
                record = parse_json(stored.content, stored.path)
                found |= {str(name) for name in record["stamps"]}
    return found


def _stamps_on(lineage: Path, digest: str) -> list[Superseded]:
    return [Superseded.read(path) for path in sorted((lineage / FOLDER).glob(f"{digest}.*.json"))]


def _name(stamp: Superseded) -> str:
    return f"{stamp.digest}.{hashlib.sha256(stamp.to_bytes()).hexdigest()}.json"
