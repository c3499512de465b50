"""The team's home of evidence: what every checkout's lineage wrote, by content, beside the data.

It lies at DVC's default remote, reached as DVC reaches it, or where ``TESSERA_EVIDENCE`` says.
Records only ever grow in number and are named by their digest, so a listing tells what is missing
on either side, and two checkouts that write at once cannot harm each other.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from flows.settings import Settings
from tessera_core.errors import RecordError, RemoteError, TesseraError
from tessera_core.records.files import write_atomically
from tessera_core.records.paths import Paths
from tessera_core.records.superseded import FOLDER as STAMPS

HOME: Final = "tessera-lineage"
"""Folder at DVC's remote, beside the ``files`` of DVC itself."""

NAME: Final = re.compile(r"(?:[0-9a-f]{64}\.)?([0-9a-f]{64})\.json")
"""A record, or a stamp on one; the last digest is that of the content."""

LOCAL: Final = ("file", "local")
NO_LISTING: Final = ("http", "https")
"""Remotes that can only be read from, address by address."""

BATCH: Final = 256
WAY_OUT: Final = (
    "mend the access, or name another place that the team reaches with TESSERA_EVIDENCE "
    "(a folder or an address as s3://bucket/folder), then run again"
)
HOW_TO_JOIN: Final = (
    "bring it from the checkout that wrote it: `dvc remote add -d team URL` (or TESSERA_EVIDENCE) "
    "in both, `tessera sync` there, then again here"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A folder that all checkouts of a team reach."""

    fs: Any
    """fsspec's file system of it."""

    path: str
    """The folder, as the file system names it."""

    is_local: bool
    """Whether it is a folder of this machine, mounted or not."""

    @property
    def name(self) -> str:
        """How messages call it: without credentials."""
        if self.is_local:
            return self.path
        protocol = self.fs.protocol
        return f"{protocol if isinstance(protocol, str) else protocol[0]}://{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What went to and came from a home."""

    home: str
    sent: int = 0
    fetched: int = 0
    is_new: bool = False
    """Whether nothing was there: the first to send, or a share that is not mounted."""


def find_home(root: Path, settings: Settings) -> Home | None:
    """Return where the evidence of a checkout's team lies.

    None where no place was named: no setting, and DVC has no default remote, or one inside the
    checkout, which no other reaches, or one that cannot be listed.

    Raises:
        RemoteError: The remote is of a kind whose library is not installed, or is misspelt.
    """
    if settings.tessera_evidence:
        return _stated(settings.tessera_evidence, root)
    return _beside_the_data(root)


def fetch_evidence(paths: Paths, settings: Settings) -> Synced | None:
    """Bring the records that the team has and the checkout lacks; None without a home.

    Raises:
        RemoteError: The home does not answer.
        RecordError: A record is not what its name says; it was not stored, all others were.
    """
    home = find_home(paths.root, settings)
    if home is None:
        return None
    with _answering(home, "be read"):
        there = _listing(home)
        fetched = _fetch(home, paths.lineage, there or {})
    return Synced(home=home.name, fetched=fetched, is_new=there is None)


def share_evidence(paths: Paths, settings: Settings) -> Synced | None:
    """Fetch as ``fetch_evidence`` does, and send what the team lacks; raises as it does."""
    home = find_home(paths.root, settings)
    if home is None:
        return None
    with _answering(home, "be read"):
        there = _listing(home)
        fetched = _fetch(home, paths.lineage, there or {})
    with _answering(home, "be written to"):
        sent = _send(home, paths.lineage, there or {})
    return Synced(home=home.name, sent=sent, fetched=fetched, is_new=there is None)


def _fetch(home: Home, lineage: Path, there: Mapping[str, int]) -> int:
    """Store what the lineage lacks, verified; return how many records."""
    wanted = [name for name in sorted(there) if not _place(lineage, name).exists()]
    wrong, stored = [], 0
    for names in _batches(wanted):
        contents = home.fs.cat([f"{home.path}/{name}" for name in names])
        for address, content in contents.items():
            name = address.rpartition("/")[2]
            if _is_itself(name, content):
                write_atomically(_place(lineage, name), content)
                stored += 1
            else:
                wrong.append(name)
    if wrong:
        raise RecordError(
            f"{len(wrong)} of the records at {home.name} are not what their names say, so they "
            f"were changed there, and not stored here: {', '.join(wrong[:3])}. Find out who did; "
            "delete them there, and `tessera sync` in a checkout that has them sends them again"
        )
    return stored


def _send(home: Home, lineage: Path, there: Mapping[str, int]) -> int:
    """Send what the home lacks, or holds at another length; return how many records.

    What was changed in this checkout is never sent: an audit tells of it.
    """
    missing = {
        name: path
        for name, path in _records(lineage)
        if there.get(name) != path.stat().st_size
    }  # fmt: skip
    sent = 0
    for names in _batches(sorted(missing)):
        read = {name: missing[name].read_bytes() for name in names}
        intact = {name: content for name, content in read.items() if _is_itself(name, content)}
        if home.is_local:
            for name, content in intact.items():
                write_atomically(Path(home.path) / name, content)
        elif intact:
            home.fs.pipe({f"{home.path}/{name}": content for name, content in intact.items()})
        sent += len(intact)
    return sent


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield names in groups small enough to hold the content of each in memory."""
    for start in range(0, len(names), BATCH):
        yield names[start : start + BATCH]


def _listing(home: Home) -> dict[str, int] | None:
    """Return name -> bytes of all records at a home; None where there is no such folder yet.

    What is named otherwise is not ours. A bucket that is not there raises FileNotFoundError.
    """
    home.fs.invalidate_cache()
    try:
        entries: Sequence[Mapping[str, Any]] = home.fs.ls(home.path, detail=True)
    except FileNotFoundError:
        if not home.is_local and not home.path.startswith("/"):
            home.fs.ls(home.path.partition("/")[0])
        return None
    named = {str(entry["name"]).rpartition("/")[2]: entry for entry in entries}
    return {name: int(entry["size"]) for name, entry in named.items() if NAME.fullmatch(name)}


def _records(lineage: Path) -> Iterator[tuple[str, Path]]:
    """Yield all records and stamps of a lineage by the name that a home gives them."""
    found: Iterable[Path] = (*lineage.glob("*.json"), *(lineage / STAMPS).glob("*.json"))
    for path in found:
        if NAME.fullmatch(path.name) and path.is_file():
            yield path.name, path


def _place(lineage: Path, name: str) -> Path:
    """Return where a lineage keeps a record; stamps, named by two digests, have their folder."""
    return (lineage / STAMPS if name.count(".") > 1 else lineage) / name


def _is_itself(name: str, content: bytes) -> bool:
    """Return whether a content has the digest that its name ends in."""
    matched = NAME.fullmatch(name)
    return matched is not None and hashlib.sha256(content).hexdigest() == matched[1]


def _stated(place: str, root: Path) -> Home:
    """Return the home that the setting names; a relative folder is one below the checkout."""
    import fsspec

    if urlsplit(place).scheme in ("", *LOCAL):
        folder = root / Path(place.removeprefix("file://")).expanduser()
        return Home(fs=fsspec.filesystem("file"), path=str(folder), is_local=True)
    try:
        fs, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        scheme = urlsplit(place).scheme
        raise RemoteError(
            f"TESSERA_EVIDENCE names a place of kind {scheme}, which cannot be used: {error}; "
            "install what it needs, or name a folder that the team reaches"
        ) from error
    return Home(fs=fs, path=path.rstrip("/"), is_local=False)


def _beside_the_data(root: Path) -> Home | None:
    """Return the home at DVC's default remote."""
    if not (root / ".dvc").is_dir():
        return None
    from dvc.config import Config
    from dvc.exceptions import DvcException
    from dvc.fs import get_cloud_fs

    try:
        config = Config(str(root / ".dvc"))
        remote = config["core"].get("remote")
        if not remote:
            return None
        kind, options, base = get_cloud_fs(config, name=remote)
        if kind.protocol in NO_LISTING:
            return None
        is_local = kind.protocol in LOCAL
        if is_local and Path(base).resolve().is_relative_to(root.resolve()):
            return None
        fs = kind(**options).fs
    except (DvcException, ImportError, OSError, ValueError) as error:
        raise RemoteError(
            f"DVC's default remote, where the evidence of the team lies, cannot be used: {error}; "
            f"{WAY_OUT}"
        ) from error
    if is_local:
        import fsspec

        fs = fsspec.filesystem("file")
    return Home(fs=fs, path=f"{base.rstrip('/')}/{HOME}", is_local=is_local)


@contextmanager
def _answering(home: Home, action: str) -> Iterator[None]:
    """Turn whatever a remote's library raises into one sentence: an error is never "nothing"."""
    try:
        yield
    except TesseraError:
        raise  # a record that is wrong, or this machine's own disk
    except Exception as error:  # each library has errors of its own
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RemoteError(
            f"{home.name}, where the evidence of the team lies, cannot {action} ({told}); {WAY_OUT}"
        ) from error
