"""How the small networks among the heads are trained: one loop, chance of their own, one thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

WEIGHT_DECAY: Final = 1e-2


@contextmanager
def own_chance(seed: int) -> Iterator[None]:
    """Draw from a seed inside, on one thread, and leave both as they were found.

    These networks are so small that threads wait for each other longer than they work.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(num_threads)


def fit(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    num_rows: int,
    *,
    num_steps: int,
    batch_size: int,
    peak_lr: float,
) -> None:
    """Train a network by AdamW with a one-cycle rate; call inside ``own_chance``.

    Args:
        network: What is trained; left in evaluation mode.
        loss: Rows of one batch -> their loss.
        num_rows: Rows there are.
        num_steps: Updates.
        batch_size: Rows per update.
        peak_lr: Largest learning rate.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak_lr, total_steps=num_steps)
    network.train()
    order, position = torch.randperm(num_rows), 0
    for _ in range(num_steps):
        if position and position + batch_size > num_rows:
            order, position = torch.randperm(num_rows), 0
        rows = order[position : position + batch_size]
        position += batch_size
        optimizer.zero_grad(set_to_none=True)
        loss(rows).backward()
        optimizer.step()
        schedule.step()
    network.eval()


def standardise_by(train: Tensor, *others: Tensor) -> list[Tensor]:
    """Return tensors with mean and deviation of ``train`` over all but the last axis taken out."""
    flat = train.reshape(-1, train.shape[-1])
    mean, deviation = flat.mean(dim=0), flat.std(dim=0)
    scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    return [(other - mean) / scale for other in others]
