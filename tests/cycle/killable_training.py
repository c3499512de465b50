"""A training to be killed: ``python killable_training.py FOLDER NUM_LOADERS [RANK SIZE PORT]``.

Goes on where it was. Rank 0 prints ``step N`` when a step reports, ``saving`` before and ``saved``
after each checkpoint, and at the end a digest of all that training leaves behind.
"""

import hashlib
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import torch

from tessera_core.ports import NullTracker
from tessera_core.pretrain import loop
from tessera_core.pretrain.checkpoint import CheckpointPolicy, save_checkpoint, sole_owner
from tessera_core.pretrain.ranks import alone, joined
from tessera_core.testing.models import TINY_SHAPE, tiny_settings
from tessera_core.testing.pixels import NORMS, as_feed, random_pixels
from tessera_core.testing.tracker import InMemoryTracker

NUM_STEPS = 80


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class SpokenTracker(InMemoryTracker):
    """Says each step aloud."""

    def log_metrics(self, step, metrics):
        if "loss/total" in metrics:
            say(f"step {step}")


def spoken_save(policy, network, optimizer, progress, ranks):
    """Save as ever, and say so."""
    if ranks.is_first:
        say("saving")
    save_checkpoint(policy, network, optimizer, progress, ranks)
    if ranks.is_first:
        say("saved")


def score(encoder):
    """A probe that costs nothing and likes some encoders better than others."""
    return float(sum(value.abs().sum() for value in encoder.parameters()) % 1)


def train(folder: Path, num_loaders: int, ranks) -> None:
    """Train to the end and print the digest."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    settings = tiny_settings(
        num_steps=NUM_STEPS, num_loaders=num_loaders, num_ranks=ranks.size, probe_every=3,
        modality_dropout=0.2, view_lengths=(4, 6),
        # Wide enough that a write takes a while.
        projector_dim=256,
    )  # fmt: skip
    loop.save_checkpoint = spoken_save
    trained = loop.train(
        settings, TINY_SHAPE, as_feed(random_pixels(60, seed=70)), NORMS,
        checkpoints=CheckpointPolicy(folder=folder, identity={"run": "killable"}),
        tracker=SpokenTracker() if ranks.is_first else NullTracker(),
        probe=score if ranks.is_first else None, ranks=ranks,
    )  # fmt: skip
    if not ranks.is_first:
        return
    digest = hashlib.sha256(repr((trained.history, trained.selected.step)).encode())
    last = torch.load(sorted(folder.glob("step-*.pt"))[-1], weights_only=True)
    for weights in (trained.encoder.state_dict(), last["model"]):
        for name, value in weights.items():
            digest.update(name.encode() + value.numpy().tobytes())
    say(f"digest {digest.hexdigest()}")


def main(folder: Path, num_loaders: int, *group: str) -> None:
    """Train alone, or as one of a group."""
    if not group:
        with sole_owner(folder):
            train(folder, num_loaders, alone())
        return
    rank, size, port = group
    os.environ.update(RANK=rank, WORLD_SIZE=size, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    with joined(int(size)) as ranks, sole_owner(folder) if ranks.is_first else nullcontext():
        train(folder, num_loaders, ranks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
