"""A training run to be killed: ``python killable_training.py FOLDER`` goes on where it was.

Prints ``step N`` before each checkpoint, and at the end a digest of everything it holds.
"""

import hashlib
import sys
from pathlib import Path

import torch

from tessera_core.pretrain.loop import train
from tessera_core.testing.models import TINY_SHAPE, tiny_settings
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.tracker import InMemoryTracker

NUM_STEPS = 80


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class SpokenTracker(InMemoryTracker):
    """Says each step aloud."""

    def log_metrics(self, step, metrics):
        say(f"step {step}")


def main(folder: Path) -> None:
    """Train to the end and print the digest of encoder and history."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    trained = train(
        tiny_settings(num_steps=NUM_STEPS), TINY_SHAPE, random_pixels(60, seed=70), NORMS,
        checkpoints=folder, tracker=SpokenTracker(), probe=None,
    )  # fmt: skip
    digest = hashlib.sha256(repr(trained.history).encode())
    for name, value in trained.encoder.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    say(f"digest {digest.hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
