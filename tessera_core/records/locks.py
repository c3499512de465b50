"""Locks between processes: whoever waits says for whom, and not for ever."""

import contextlib
import fcntl
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from tessera_core.errors import BusyError
from tessera_core.records.files import storage_errors

LIMIT_S: Final = 30 * 60.0
"""Longest wait for another process, where the caller names no limit."""

SILENT_S: Final = 3.0
"""Waits that end sooner are not worth a line."""

POLL_S: Final = 0.1

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def one_at_a_time(
    lock: Path, *, limit_s: float = LIMIT_S, silent_s: float = SILENT_S
) -> Iterator[None]:
    """Wait until no other thread or process is in a block of the same lock file.

    The lock goes with the process that holds it, however that ends. While it is held, the file
    says by whom.

    Args:
        lock: File that stands for the lock; created when absent.
        limit_s: Seconds to wait for another holder.
        silent_s: Seconds of waiting before a line says for whom.

    Raises:
        BusyError: Another process held it all the time.
        StorageError: The file cannot be written.
    """
    with storage_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        _wait(descriptor, lock, limit_s, silent_s)
        _sign(descriptor, {"pid": os.getpid(), "command": _command(), "since": _now()})
        try:
            yield
        finally:
            _sign(descriptor, None)
    finally:
        os.close(descriptor)


def _wait(descriptor: int, lock: Path, limit_s: float, silent_s: float) -> None:
    """Take a lock; say after some seconds who has it, and give up at the limit."""
    name = lock.name.strip(".").removesuffix(".lock")
    started, told = time.monotonic(), False
    while not _is_taken(descriptor, lock):
        waited = time.monotonic() - started
        if waited >= limit_s:
            raise BusyError(
                f"waited {_minutes(limit_s)} for the {name} lock, which is held by "
                f"{_holder(lock)}: {lock}. Wait until that process is done, or end it, "
                "and run again"
            )
        if waited >= silent_s and not told:
            told = True
            _log.warning(
                "waiting for the %s lock, held by %s, for up to %s",
                name, _holder(lock), _minutes(limit_s),
            )  # fmt: skip
        time.sleep(min(POLL_S, limit_s))


def _is_taken(descriptor: int, lock: Path) -> bool:
    with storage_errors(lock):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _sign(descriptor: int, holder: dict[str, object] | None) -> None:
    """Write who holds the lock, or that nobody does; a full disk is no reason not to hold it."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        if holder is not None:
            os.write(descriptor, json.dumps(holder).encode())


def _holder(lock: Path) -> str:
    """Return who holds a lock, in words."""
    try:
        said = json.loads(lock.read_bytes())
        return f"pid {said['pid']} ({said['command']}, since {said['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _command() -> str:
    """Return the command of this process without its arguments, which may hold secrets."""
    program = Path(sys.argv[0] or "python")
    is_ours = program.parts[-3:] == ("flows", "cli", "main.py")
    name = "tessera" if is_ours else program.stem
    if program.stem == "__main__":
        name = program.parent.name
    return " ".join([name, *(word for word in sys.argv[1:2] if not word.startswith("-"))])


def _now() -> str:
    return datetime.now().astimezone().isoformat(" ", "seconds")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
