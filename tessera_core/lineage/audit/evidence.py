"""Where the bytes are: files found by place or by content, each hashed once."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tessera_core.records.files import FileDigest, require_regular
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.outside import find_place, places_below
from tessera_core.records.paths import Paths

RUN_WORKSPACES: Final = "data/runs/*"
"""Where runs with other settings have their workspaces, below the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was read from a file. DVC's md5 would say nothing that sha256 does not."""

    sha256: str
    """Digest of all bytes."""

    size: int
    """Their number."""


class Evidence:
    """The files that one audit has read."""

    def __init__(
        self, paths: Paths, on_read: Callable[[int], object], data: Sequence[Path] = ()
    ) -> None:
        """Start with nothing read.

        Args:
            paths: Workspace and root.
            on_read: Called with the size of each file read, for a progress bar.
            data: Folders to look in last for sources from outside the checkout.
        """
        self._paths = paths
        self._data = data
        self._on_read = on_read
        self._digests: dict[Path, Content | None] = {}
        self._by_content: dict[str, Path] = {}

    @property
    def num_files(self) -> int:
        """Files read so far."""
        return sum(digest is not None for digest in self._digests.values())

    @property
    def num_bytes(self) -> int:
        """Bytes read so far."""
        return sum(digest.size for digest in self._digests.values() if digest is not None)

    def name(self, path: Path) -> str:
        """Return how findings call a file: its path from the root."""
        return Path(os.path.relpath(path, self._paths.root)).as_posix()

    def digest(self, path: Path) -> Content | None:
        """Return what a file holds, reading it at most once; None when it cannot be read."""
        if path not in self._digests:
            found = _read(path)
            self._digests[path] = found
            if found is not None:  # absent evidence is a finding of the caller, who knows what for
                self._by_content.setdefault(found.sha256, path)
                self._on_read(found.size)
        return self._digests[path]

    def place_of(self, source: FileDigest) -> Path:
        """Return where a receipt's source lies now, or where it should: its content may differ."""
        place = find_place(source.path, self._paths.root)
        if self.digest(place) is not None:
            return place
        others = places_below(source.path, self._data)
        # Another file of the same name is no changed source: only the content itself will do.
        return next((each for each in others if self.holds(each, source.sha256)), place)

    def has_read(self, path: Path) -> bool:
        """Return whether a file was looked at before."""
        return path in self._digests

    def holds(self, path: Path, sha256: str) -> bool:
        """Return whether a file is there with this content."""
        found = self.digest(path)
        return found is not None and found.sha256 == sha256

    def differences(self, folder: Path, manifest: Manifest) -> Iterator[tuple[Path, str]]:
        """Yield each file of a folder that is not as its manifest says, and how."""
        listed = {entry.path: entry.sha256 for entry in manifest.files}
        there = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        for name in sorted(listed.keys() | (there - {MANIFEST_NAME})):
            path = folder / name
            if name not in listed:
                yield path, "is not in its manifest"
            elif self.digest(path) is None:
                yield path, "is missing"
            elif not self.holds(path, listed[name]):
                yield path, "was changed"

    def find(self, expected: FileDigest, place: Path) -> Path | None:
        """Return a file with this content, or None.

        A later run may have replaced the file at its place, so the content may also be one that
        was verified elsewhere in this audit, an archived manifest, an entry of DVC's cache, or
        in the workspace of a run with other settings.

        Args:
            expected: Digests of the content, its path relative to whichever workspace made it.
            place: Where the run put it, if it ran in this workspace.
        """
        if self.holds(place, expected.sha256):
            return place
        if expected.sha256 in self._by_content:
            return self._by_content[expected.sha256]
        candidates = (
            self._paths.lineage / f"{expected.sha256}.json",
            self._paths.dvc_cache / expected.md5[:2] / expected.md5[2:],
            *(workspace / expected.path for workspace in self._workspaces()),
        )
        for candidate in candidates:
            # The size tells most other contents apart without reading them.
            is_likely = candidate.is_file() and candidate.stat().st_size == expected.size
            if is_likely and self.holds(candidate, expected.sha256):
                return candidate
        return None

    def _workspaces(self) -> list[Path]:
        """Return the root and every workspace below it that runs with overrides made."""
        return [self._paths.root, *sorted(self._paths.root.glob(RUN_WORKSPACES))]


def _read(path: Path) -> Content | None:
    try:
        require_regular(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return Content(sha256=sha256, size=file.tell())
    except OSError:
        return None
