"""How the small networks among the heads are trained: one loop, chance of their own, one thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

WEIGHT_DECAY: Final = 1e-2

ROWS_AT_ONCE: Final = 4096
"""Rows that are predicted together; bounds the memory of large test sides."""


@contextmanager
def own_chance(seed: int) -> Iterator[None]:
    """Draw from a seed inside, on one thread, and leave both as they were found.

    These networks are so small that threads wait for each other longer than they work.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it seeds accelerators too, which nobody would restore.
            torch.default_generator.manual_seed(seed)
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
        num_rows: Rows there are, 1 or more.
        num_steps: Updates, 2 or more.
        batch_size: Rows per update; all rows where there are fewer. Batches are always full, as
            batch norm has nothing to normalise a single row by.
        peak_lr: Largest learning rate.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak_lr, total_steps=num_steps)
    batch_size = min(batch_size, num_rows)
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


def run(network: nn.Module, rows: Tensor, *, rows_at_once: int = ROWS_AT_ONCE) -> Tensor:
    """Return the output of a fitted network for all rows, in parts; call inside ``own_chance``."""
    with torch.no_grad():
        return torch.cat([network(part) for part in rows.split(rows_at_once)])


def scale_by(train: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that takes out mean and deviation of ``train`` over all but the last axis.

    A feature that is constant in ``train`` is only centred.
    """
    # In float32 the mean of equal numbers is not that number, and constants become noise.
    wide = train.reshape(-1, train.shape[-1]).double()
    mean, deviation = wide.mean(dim=0), wide.std(dim=0, correction=0)
    scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    mean, scale = mean.to(train.dtype), scale.to(train.dtype)
    return lambda other: (other - mean) / scale


def standardise_by(train: Tensor, *others: Tensor) -> list[Tensor]:
    """Return tensors with mean and deviation of ``train`` taken out, as ``scale_by`` does it."""
    return [*map(scale_by(train), others)]
