"""Training that is killed, again and again, ends with the bits of an undisturbed run."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.cycle.killable_training import NUM_STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).with_name("killable_training.py")
NUM_KILLS = 20
MAX_STEPS_APART = 5
MAX_DELAY_S = 0.03
"""Some steps long, so that a kill can fall into a forward pass, an update or a write."""

PATIENCE_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def training(repo: Path, folder: Path, num_loaders: int, num_ranks: int) -> Iterator[list]:
    """Start the ranks, the first one's words to be read; all are gone when the block ends."""
    group = [] if num_ranks == 1 else [str(num_ranks), str(free_port())]
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), str(num_loaders)]
            + ([str(rank), *group] if group else []),
            env={**os.environ, "PYTHONPATH": str(repo), "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for rank in range(num_ranks)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate(timeout=PATIENCE_S)


def run_until_killed(processes: list, marks: int, word: str, delay_s: float) -> list[str]:
    """Wait until rank 0 has said a word so often, and a moment longer; kill; return all it said."""
    first = processes[0]
    said = []
    while sum(line.startswith(word) for line in said) < marks:
        line = first.stdout.readline()
        assert line, f"it ended by itself after {said[-3:]}"
        said.append(line)
    time.sleep(delay_s)
    for process in processes:
        process.send_signal(signal.SIGKILL)
    said += first.stdout.readlines()
    first.wait(PATIENCE_S)
    return [line.strip() for line in said if line.endswith("\n")]


def run_to_the_end(repo: Path, folder: Path, num_loaders: int, num_ranks: int) -> list[str]:
    with training(repo, folder, num_loaders, num_ranks) as processes:
        said = processes[0].stdout.read().splitlines()
        assert processes[0].wait(PATIENCE_S) == 0
    return said


def steps_in(said: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in said if line.startswith("step ")]


@pytest.mark.parametrize("num_ranks", [1, 2], ids=["one rank", "two ranks"])
@pytest.mark.parametrize(
    "num_loaders",
    [
        pytest.param(0, id="no loader", marks=pytest.mark.long),
        pytest.param(2, id="two loaders"),
    ],
)
def test_a_run_killed_at_twenty_points_ends_with_the_same_bits(
    repo, tmp_path, num_loaders, num_ranks
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    expected = run_to_the_end(repo, whole, num_loaders, num_ranks)
    rng = np.random.default_rng([71, num_loaders, num_ranks])

    reached, torn_writes = -1, 0
    for number in range(NUM_KILLS):
        # Every other kill is aimed at a checkpoint that is just being written.
        word = "saving" if number % 2 else "step"
        delay_s = 0.0 if number % 2 else float(rng.uniform(0, MAX_DELAY_S))
        marks = int(rng.integers(1, MAX_STEPS_APART))
        with training(repo, killed, num_loaders, num_ranks) as processes:
            said = run_until_killed(processes, marks, word, delay_s)
        steps = steps_in(said)
        # At most the step that had been reported but not saved is done again.
        assert not steps or steps[0] in (reached, reached + 1)
        assert steps == list(range(steps[0], steps[-1] + 1)) if steps else True
        reached = steps[-1] if steps else reached
        torn_writes += said[-1] == "saving"
        assert reached < NUM_STEPS - 1, "it was done before it was killed often enough"
    rest = run_to_the_end(repo, killed, num_loaders, num_ranks)

    assert torn_writes >= NUM_KILLS // 4
    assert steps_in(expected) == list(range(NUM_STEPS))
    assert 0 < steps_in(rest)[0] <= reached + 1
    assert rest[-1] == expected[-1]
    assert expected[-1].startswith("digest ")
    left = {path.name for path in killed.iterdir()} - {".lock"}
    assert left == {f"step-{step:08d}.{kind}" for step in (79, 80) for kind in ("pt", "json")}
