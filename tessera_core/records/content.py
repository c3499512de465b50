"""Content by digest in a checkout: workspaces first, then the lineage, then DVC's cache."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tessera_core.records.files import FileDigest, digest_file
from tessera_core.records.paths import Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Where content may be."""

    workspaces: tuple[Path, ...]
    """The checkout and every workspace in it."""

    lineage: Path
    """Archived manifests, by sha256."""

    dvc_cache: Path
    """DVC's objects, by md5."""

    @classmethod
    def of(cls, paths: Paths) -> Self:
        """Return the places of a checkout as they are now."""
        return cls(
            workspaces=tuple(paths.workspaces()), lineage=paths.lineage, dvc_cache=paths.dvc_cache
        )

    def copies(self, entry: FileDigest, path: str) -> Iterator[Path]:
        """Yield files that may have this content; only their size was compared.

        Args:
            entry: What manifests list.
            path: Where the run put it, relative to its workspace.
        """
        candidates = (
            *(workspace / path for workspace in self.workspaces),
            self.lineage / f"{entry.sha256}.json",
            self.dvc_cache / entry.md5[:2] / entry.md5[2:],
        )
        for candidate in candidates:
            if candidate.is_file() and candidate.stat().st_size == entry.size:
                yield candidate

    def find(self, entry: FileDigest, path: str) -> Path | None:
        """Return a file with exactly this content, or None when all copies are gone or changed."""
        for candidate in self.copies(entry, path):
            if digest_file(candidate, candidate.parent).sha256 == entry.sha256:
                return candidate
        return None
