"""A lock between processes: who waits says for whom, and not for ever."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tessera_core.errors import BusyError
from tessera_core.records import locks
from tessera_core.records.locks import one_at_a_time
from tessera_core.terminal import keep_for_ourselves

HOLDER = """
import sys
from pathlib import Path
from tessera_core.records.locks import one_at_a_time
sys.argv[0] = "/somewhere/flows/cli/main.py"
with one_at_a_time(Path(sys.argv.pop())):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(lock: Path, repo: Path) -> Iterator["subprocess.Popen[str]"]:
    """Have another process hold a lock, as ``tessera retrain`` would."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "retrain", "--secret", str(lock)],
        env={**os.environ, "PYTHONPATH": str(repo)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(60)
        for pipe in (process.stdin, process.stdout):
            pipe.close()


def test_who_waits_too_long_is_told_who_holds_the_lock_and_what_to_do(tmp_path, repo):
    lock = tmp_path / "data" / ".registry.lock"
    with (
        held(lock, repo) as holder,
        pytest.raises(BusyError) as refused,
        one_at_a_time(lock, limit_s=0.3),
    ):
        pass

    said = str(refused.value)
    assert f"the registry lock, which is held by pid {holder.pid} (tessera retrain, since" in said
    assert "run again" in said
    assert "--secret" not in lock.read_text()
    assert refused.value.exit_code == 1


def test_who_waits_says_so_once_and_goes_on_when_the_lock_is_free(
    tmp_path, repo, monkeypatch, capsys
):
    lock = tmp_path / ".dvc.lock"
    monkeypatch.setattr(locks, "SILENT_S", 0.0)
    keep_for_ourselves()
    with held(lock, repo) as holder:
        letting_go = logging.Handler()
        letting_go.emit = lambda _: holder.stdin.close()
        logging.getLogger(locks.__name__).addHandler(letting_go)
        try:
            with one_at_a_time(lock):
                got = lock.read_text()
        finally:
            logging.getLogger(locks.__name__).removeHandler(letting_go)

    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tessera: waiting for the dvc lock, held by pid {holder.pid} (tessera")
    assert said.endswith("for up to 30 minutes")
    assert f'"pid": {os.getpid()}' in got


def test_the_lock_of_a_killed_process_is_free_whatever_its_file_says(tmp_path, repo):
    lock = tmp_path / ".registry.lock"
    with held(lock, repo) as holder:
        holder.kill()
        holder.wait(60)
        left = lock.read_text()
        with one_at_a_time(lock, limit_s=0.0):
            pass

    assert str(holder.pid) in left
    assert lock.read_text() == ""


def test_a_lock_file_that_says_nothing_still_locks(tmp_path, repo):
    lock = tmp_path / ".registry.lock"
    with held(lock, repo):
        lock.write_text("no JSON")
        with (
            pytest.raises(BusyError, match="held by another process"),
            one_at_a_time(lock, limit_s=0.0),
        ):
            pass
