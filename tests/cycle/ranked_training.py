"""Twenty steps as one process or as one of a group: ``python ranked_training.py OUT SETTINGS ...``.

``SETTINGS`` is JSON; ``RANK SIZE PORT`` follow in a group. Rank 0 writes the loss of every step and
the gradients of the first to ``OUT``.
"""

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from tessera_core.model.shape import Reducer
from tessera_core.ports import NullTracker
from tessera_core.pretrain.batches import draw_batch
from tessera_core.pretrain.checkpoint import CheckpointPolicy
from tessera_core.pretrain.distributed import distribute
from tessera_core.pretrain.loader import load
from tessera_core.pretrain.loop import seed_step, train, whole
from tessera_core.pretrain.ranks import Ranks, alone, joined
from tessera_core.pretrain.task import build_task
from tessera_core.testing.models import TINY_SHAPE, tiny_model, tiny_settings
from tessera_core.testing.pixels import NORMS, as_feed, random_pixels

SHAPE = replace(TINY_SHAPE, dropout=0.0, reducer=Reducer.LINEAR)
"""Dropout differs from rank to rank by design."""

NUM_STEPS = 20
FEED = as_feed(random_pixels(600, seed=75))


def first_gradients(config, teacher, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Return the gradients of step 0, by name of parameter."""
    torch.manual_seed(config.seed)
    task = build_task(config, SHAPE, FEED.pixels, teacher)
    network = distribute(task.network, config, ranks)
    loaded = next(iter(load(FEED, range(1), config, ranks)))
    batch = draw_batch(loaded.raw, loaded.plan, NORMS, config, ranks)
    chance = seed_step(config.seed, 0, ranks)
    task.loss(network(task.views(batch)), batch, chance).total.backward()
    return {
        name.removeprefix("module."): whole(value.grad).clone()
        for name, value in network.named_parameters()
    }


def run(out: Path, changes: dict, ranks: Ranks) -> None:
    """Train and write down what happened."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    teacher = tiny_model(seed=5) if changes.pop("distil", False) else None
    config = tiny_settings(
        num_steps=NUM_STEPS, num_ranks=ranks.size, dropout=0.0, save_every=100,
        peak_lr=0.002, warmup_share=0.1, **{"batch_size": 64, **changes},
    )  # fmt: skip
    gradients = first_gradients(config, teacher, ranks)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(
            config, SHAPE, FEED, NORMS,
            checkpoints=CheckpointPolicy(folder=Path(folder), identity={}),
            tracker=NullTracker(), probe=None, teacher=teacher, ranks=ranks,
        )  # fmt: skip
    if ranks.is_first:
        losses = [record["loss/total"] for record in trained.history]
        torch.save({"losses": losses, "gradients": gradients, "history": trained.history}, out)


def main(out: Path, changes: dict, *group: str) -> None:
    """Run alone, or as one of a group."""
    if not group:
        run(out, changes, alone())
        return
    rank, size, port = group
    os.environ.update(RANK=rank, WORLD_SIZE=size, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    with joined(int(size)) as ranks:
        run(out, changes, ranks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), *sys.argv[3:])
