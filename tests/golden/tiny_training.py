"""Twenty steps of training on made-up d-pixels; prints every loss with all its digits.

Run as a program of its own, because which kernels a library takes is decided when it loads.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

from tessera_core.pretrain.checkpoint import CheckpointPolicy
from tessera_core.pretrain.loop import train
from tessera_core.testing.models import TINY_SHAPE, tiny_settings
from tessera_core.testing.pixels import NORMS, as_feed, random_pixels
from tessera_core.testing.tracker import InMemoryTracker

NUM_STEPS = 20


def main() -> None:
    """Train and print the losses as JSON."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    settings = tiny_settings(num_steps=NUM_STEPS, batch_size=32, warmup_share=0.2, save_every=99)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(
            settings, TINY_SHAPE, as_feed(random_pixels(100, seed=60)), NORMS,
            checkpoints=CheckpointPolicy(folder=Path(folder), identity={}),
            tracker=InMemoryTracker(), probe=None,
        )  # fmt: skip
    json.dump([record["loss/total"] for record in trained.history], sys.stdout)


if __name__ == "__main__":
    main()
