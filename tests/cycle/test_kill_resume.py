"""Training that is killed, again and again, ends with the bits of an undisturbed run."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.cycle.killable_training import NUM_STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("killable_training.py")
NUM_KILLS = 4
MAX_DELAY_S = 0.03
"""Some steps long, so that a kill can fall into a forward pass, an update or a write."""


@contextmanager
def training(repo: Path, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start the program; it is gone when the block ends."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder)],
        env={**os.environ, "PYTHONPATH": str(repo)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def steps_until_killed(process: "subprocess.Popen[str]", num_steps: int, delay_s: float) -> list:
    """Read some steps, let the program run a moment longer, kill it, return all it said."""
    said = [process.stdout.readline() for _ in range(num_steps)]
    try:
        process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    return [int(line.split()[1]) for line in said if line.startswith("step ") and line[-1] == "\n"]


def run_to_the_end(repo: Path, folder: Path) -> tuple[list[int], str]:
    """Return the steps of a run and the digest it ends with."""
    with training(repo, folder) as process:
        *steps, last = process.stdout.read().splitlines()
        assert process.wait() == 0
    return [int(line.split()[1]) for line in steps], last


def test_a_run_killed_at_random_points_ends_with_the_same_bits(repo, tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    all_steps, expected = run_to_the_end(repo, tmp_path / "whole")
    rng = np.random.default_rng(71)

    reached = 0
    for _ in range(NUM_KILLS):
        with training(repo, tmp_path / "killed") as process:
            steps = steps_until_killed(
                process, int(rng.integers(1, 9)), float(rng.uniform(0, MAX_DELAY_S))
            )
            assert process.returncode == -signal.SIGKILL, "it was done before it was killed"
        # At most the step that had been reported but not saved is done again.
        assert steps[0] in (reached, reached + 1)
        assert steps == list(range(steps[0], steps[-1] + 1))
        reached = steps[-1]
    rest, found = run_to_the_end(repo, tmp_path / "killed")

    assert all_steps == list(range(NUM_STEPS))
    assert 0 < rest[0] <= reached + 1
    assert rest[-1] == NUM_STEPS - 1
    assert found == expected
    assert expected.startswith("digest ")
