"""Several ranks train as one would: the same losses, the same gradients, by torchrun too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cycle.ranked_training import NUM_STEPS
from tests.cycle.test_kill_resume import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).with_name("ranked_training.py")
PATIENCE_S = 200
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-6, 1e-5


def run(repo: Path, out: Path, changes: dict, num_ranks: int) -> dict:
    """Train with some ranks; return the losses and gradients that rank 0 wrote."""
    group = [] if num_ranks == 1 else [str(num_ranks), str(free_port())]
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(out), json.dumps(changes)]
            + ([str(rank), *group] if group else []),
            env={**os.environ, "PYTHONPATH": str(repo), "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_ranks)
    ]
    try:
        for process in processes:
            _, complaint = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, complaint[-2000:]
    finally:
        for process in processes:
            process.kill()
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shard": True},
        {"views": "disjoint", "modality_dropout": 0.3, "view_lengths": [4, 8]},
        {"objective": "sigreg"},
        {"distil": True},
    ],
    ids=["ddp", "fsdp2", "other views", "sigreg", "distillation"],
)
def test_two_ranks_train_as_one_would(repo, tmp_path, changes):
    alone = run(repo, tmp_path / "one.pt", {**changes, "shard": False}, 1)
    together = run(repo, tmp_path / "two.pt", changes, 2)

    assert len(alone["losses"]) == NUM_STEPS
    for one, two in zip(alone["losses"], together["losses"], strict=True):
        assert two == pytest.approx(one, rel=LOSS_TOLERANCE)
    assert_equal_gradients(alone["gradients"], together["gradients"])


def test_two_ranks_share_one_int8_scale(repo, tmp_path):
    alone, together = (
        run(repo, tmp_path / f"{size}.pt", {"fake_quantise": True}, size) for size in (1, 2)
    )

    # Of the first step only: later a weight's last digit moves a code by a whole step.
    assert together["losses"][0] == pytest.approx(alone["losses"][0], rel=LOSS_TOLERANCE)
    assert_equal_gradients(alone["gradients"], together["gradients"])


def assert_equal_gradients(expected: dict, found: dict) -> None:
    assert expected.keys() == found.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, one in expected.items():
        # Biases in front of a batch norm or a softmax have no gradient but rounding.
        has_none = one.abs().max() < GRADIENT_TOLERANCE * largest
        scale = largest if has_none else one.abs().max()
        error = (found[name] - one).abs().max() / scale
        assert error < GRADIENT_TOLERANCE, f"{name} differs by {error:.1e}"


def test_a_loss_of_each_ranks_own_batch_would_be_found_out(repo, tmp_path):
    """The control: with half the batch per rank and no exchange, losses differ by far more."""
    whole = run(repo, tmp_path / "whole.pt", {}, 1)
    half = run(repo, tmp_path / "half.pt", {"batch_size": 32}, 1)

    assert abs(half["losses"][0] / whole["losses"][0] - 1) > 1000 * LOSS_TOLERANCE
