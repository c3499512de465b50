"""Content digests and writes that are whole or absent."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera_core.errors import RecordError, StorageError

READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FileDigest:
    """The identity of one file's content."""

    path: str
    """Relative POSIX path below the folder that its list belongs to."""

    sha256: str
    """64 hex digits; what receipts and audits compare."""

    md5: str
    """32 hex digits; DVC's address of the same bytes."""

    size: int
    """Bytes."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"path": self.path, "sha256": self.sha256, "md5": self.md5, "size": self.size}


def digest_file(path: Path, relative_to: Path) -> FileDigest:
    """Read a file below a folder once and return its digests.

    What may lie elsewhere is a source: ``outside.digest_source`` names those.

    Raises:
        RecordError: It is missing.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = 0
    try:
        require_regular(path)
        with path.open("rb") as file:
            while chunk := file.read(READ_SIZE):
                sha256.update(chunk)
                md5.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    name = path.relative_to(relative_to).as_posix()
    return FileDigest(path=name, sha256=sha256.hexdigest(), md5=md5.hexdigest(), size=size)


def digest_tree(folder: Path, relative_to: Path) -> tuple[FileDigest, ...]:
    """Return the digests of all files below ``folder``, in path order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(digest_file(path, relative_to) for path in files)


def canonical_json(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces: equal values, equal bytes.

    Raises ValueError for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def digest_json(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old or the new content, never a part."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, atomically."""
    write_atomically(path, indented_json(value))


def indented_json(value: Any) -> bytes:
    """Return JSON for people, with sorted keys: equal values, equal bytes."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False)
    return f"{text}\n".encode()


def read_json(path: Path) -> Any:
    """Read JSON; raises RecordError with the place of the fault."""
    try:
        require_regular(path)
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    return parse_json(content, path)


def parse_json(content: bytes, where: object) -> Any:
    """Parse JSON; raises RecordError, which names the place, also where it is nested too deep."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise RecordError(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise RecordError(f"{where} is nested too deep to be a record of ours") from error


def require_regular(path: Path) -> None:
    """Refuse a pipe or device, which would be waited for forever; raises OSError."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block succeeds."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    with storage_errors(path):
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``target`` when the block succeeds.

    On any error the old folder stays as it was and nothing new is left behind.
    """
    mark = uuid.uuid4().hex[:8]
    building = target.with_name(f".{target.name}.{mark}.part")
    retired = target.with_name(f".{target.name}.{mark}.old")
    with storage_errors(target):
        try:
            building.mkdir(parents=True)
            yield building
            _replace_folder(target, building, retired)
        finally:
            shutil.rmtree(building, ignore_errors=True)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a failed write into a StorageError that says where and what to do."""
    try:
        yield
    except RecordError:
        raise
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        free = shutil.disk_usage(_existing_parent(path)).free
        raise StorageError(
            f"cannot write {path}: {error.strerror or error} "
            f"({free / 1e6:.0f} MB free there). Nothing was left half-written; "
            "make room or choose another workspace, then run again"
        ) from error


def _replace_folder(target: Path, building: Path, retired: Path) -> None:
    """Put ``building`` in the place of ``target``, which comes back if that fails."""
    if not target.exists():
        building.rename(target)
        return
    target.rename(retired)
    try:
        building.rename(target)
    except OSError:
        retired.rename(target)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _existing_parent(path: Path) -> Path:
    """Return the closest folder above ``path`` that exists."""
    return next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
