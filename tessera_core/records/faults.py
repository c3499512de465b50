"""Faults of the machine that libraries report each in their own way: a full disk, a locked file.

A write of ours names its file (``storage_errors``). Databases, DVC, MLflow and native code do not
come that way; their errors are known by what the system has said at the bottom of the chain.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Final

from tessera_core.errors import BusyError, StorageError, TesseraError

CUT_OFF: Final = "the disk took only a part of it"
NO_ROOM: Final[Mapping[str, str]] = {
    **{os.strerror(code).lower(): os.strerror(code) for code in (ENOSPC, EDQUOT, EFBIG)},
    "database or disk is full": "the disk is full",
    "disk i/o error": "disk I/O error",  # sqlite, where the system refused a write otherwise
    "pytorchstreamwriter failed": CUT_OFF,
    "inline_container": CUT_OFF,  # torch as well
    "requested and": CUT_OFF,  # numpy: "50000 requested and 2484 written"
}
"""What is said of a write that found no room -> what to tell."""

LOCKED: Final = ("database is locked", "database table is locked")
UNWRITABLE: Final = ("attempt to write a readonly database", "unable to open database file")
DAMAGED: Final = ("database disk image is malformed", "file is not a database")


def machine_fault(error: BaseException, root: Path) -> TesseraError | None:
    """Return what to tell the user of a full disk or a database that cannot be used, else None.

    Args:
        error: What a library raised; the errors behind it are looked at, too.
        root: The checkout, whose free space is told.
    """
    for one in _chain(error):
        text = str(one).lower()
        if said := _first(NO_ROOM, text):
            where = getattr(one, "filename", None)
            return StorageError(
                f"cannot write {where or 'to the disk'}: {NO_ROOM[said]} ({_free(root)}). "
                "Make room and run again: what is finished is whole and is reused"
            )
        if _first(LOCKED, text):
            return BusyError(
                f"another process holds a database of {root} (.mlflow or .prefect) locked and did "
                "not let go of it; wait until it is done, or end it, and run again"
            )
        if said := _first(UNWRITABLE, text):
            return StorageError(
                f"cannot write a database of {root} (.mlflow or .prefect): {said}. Make the folder "
                "and its files writable and run again"
            )
        if said := _first(DAMAGED, text):
            return StorageError(
                f"a database of {root} (.mlflow or .prefect) is damaged: {said}. Move it away; "
                "`tessera rebuild-tracking` makes that of MLflow again from receipts"
            )
    return None


def comes_from_sqlite(error: BaseException) -> bool:
    """Return whether a database in a file of this machine is behind an error."""
    return any(isinstance(one, sqlite3.Error) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        waiting += [each for each in behind if isinstance(each, BaseException)]


def _first(phrases: Iterable[str], text: str) -> str | None:
    return next((phrase for phrase in phrases if phrase in text), None)


def _free(root: Path) -> str:
    try:
        return f"{shutil.disk_usage(root).free / 1e6:.0f} MB free in {root}"
    except OSError:
        return f"in {root}"
