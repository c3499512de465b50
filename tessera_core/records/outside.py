"""Files from outside the chain: the one place that names them, and the one that finds them again.

A receipt names a source from the checkout, where it lies inside, else as the settings name it:
``../tiles/a/bands.npy`` where they say ``../tiles``, ``/mnt/tiles/a/bands.npy`` where they say
``/mnt/tiles``. So equal settings give equal bytes on every machine, and no receipt tells more of a
machine than its settings do. Where the checkout stood is kept beside the receipts, not in them.

Whoever looks for a source compares its content: a place only says where to look first.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tessera_core.records.files import FileDigest, digest_file, write_atomically

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig

FORMER_PLACES: Final = "data/.places"
"""Folders where the checkout stood while a stage read files outside it, one a line."""

ADDRESS: Final = "://"
"""In the names of remote items, which no file stands for."""


def source_name(path: Path, root: Path) -> str:
    """Return how receipts name a file from outside the chain.

    Args:
        path: The file, as ``root / setting / ...``.
        root: The checkout.
    """
    for place, home in (
        (plain_path(path), plain_path(root)),
        (Path(os.path.realpath(path)), Path(os.path.realpath(root))),
    ):
        if place.is_relative_to(home):
            return place.relative_to(home).as_posix()
    if not path.is_relative_to(root):
        return plain_path(path).as_posix()
    # The setting climbs out of the checkout, wherever that stands.
    named = path.relative_to(root)
    short = Path(os.path.normpath(named))
    return (short if _is_same(root / short, path) else named).as_posix()


def digest_source(path: Path, root: Path) -> FileDigest:
    """Read a source once and return its digests; raises RecordError when it is missing."""
    return replace(digest_file(path, path.parent), path=source_name(path, root))


def plain_path(path: Path) -> Path:
    """Return an absolute path without ``..``; follows links only if ``..`` is behind one."""
    plain = Path(os.path.normpath(path.absolute()))
    return plain if _is_same(plain, path) else Path(os.path.realpath(path))


def is_outside(name: str) -> bool:
    """Return whether a receipt's name of a source leads out of the checkout."""
    return ADDRESS not in name and (name.startswith("../") or name.startswith("/"))


def find_place(name: str, root: Path) -> Path:
    """Return where a source lies now: its own place, or where a move of the checkout leads to."""
    places = [root / name]
    if is_outside(name):
        formers = _former_places(root)
        ways = [name]
        if name.startswith("/"):
            # A fixed place moved together with the checkout lies beside it as before.
            ways += [os.path.relpath(name, former) for former in formers]
        places += [root / way for way in ways[1:]]
        places += [Path(os.path.normpath(Path(old) / way)) for way in ways for old in formers]
    return next((place for place in places if os.access(place, os.F_OK)), places[0])


def places_below(name: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Yield where a source from outside would lie in folders, the longest ends of its name first.

    Many a file ends like another, so only content tells which one it is.
    """
    parts = [part for part in Path(name).parts if part not in ("..", "/")]
    for folder in folders if is_outside(name) else ():
        yield from (folder.joinpath(*parts[first:]) for first in range(len(parts)))


def data_folders(config: "PlatformConfig", root: Path) -> tuple[Path, ...]:
    """Return the folders that settings name for data: where to look for what is elsewhere now."""
    evaluate, pretrain = config.evaluate, config.pretrain
    named = (
        config.ingest.path, evaluate.labels, evaluate.benchmark_data, evaluate.benchmarks,
        pretrain.teacher, pretrain.imported, pretrain.continue_from,
    )  # fmt: skip
    return tuple(root / name for name in named if name is not None and ADDRESS not in name)


def remember_place(sources: Iterable[FileDigest], root: Path) -> None:
    """Note where the checkout stands, if any of the sources is only found from here."""
    if not any(is_outside(source.path) for source in sources):
        return
    here, known = os.path.realpath(root), _former_places(root)
    if known[:1] != [here]:
        lines = [here, *(place for place in known if place != here)]
        write_atomically(root / FORMER_PLACES, "".join(f"{line}\n" for line in lines).encode())


def _former_places(root: Path) -> list[str]:
    """Return where the checkout stood, latest first; a hint, so one that is broken is none."""
    try:
        text = (root / FORMER_PLACES).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.split("\n") if line.startswith("/") and "\0" not in line]


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
