"""Did a number move? Twenty losses, to six digits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.recorded import recall

PINNED_KERNELS = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
}
"""The code paths that every processor of a family has; the fast ones round as they like."""

ROUNDING = 2e-6
"""Even pinned kernels cut their blocks by the size of the cache: between two Intel servers these
losses differed by up to 1e-7, between instruction sets by 4e-7."""

PROGRAM = Path(__file__).with_name("tiny_training.py")
GOLDEN = Path(__file__).with_name("training_loss.json")
TIME_LIMIT_S = 120


def losses(repo: Path) -> list[float]:
    """Train in a program of its own, where the kernels can still be chosen."""
    result = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, **PINNED_KERNELS, "PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


def test_twenty_steps_of_training_give_the_recorded_losses(repo, bless):
    found = losses(repo)

    recorded = recall(GOLDEN, found, bless)

    assert len(found) == 20
    assert found == pytest.approx(recorded, rel=ROUNDING)
