"""The processes that train together: who they are, and how they find each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist

from tessera_core.errors import ConfigError
from tessera_core.model.artifact import best_device

PATIENCE: Final = timedelta(minutes=30)
"""How long a rank waits for the others: first batches of a cold cache differ by minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    """0 .. size - 1; rank 0 alone writes and reports."""

    size: int
    """How many there are."""

    device: torch.device
    """What this one computes on."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def own(self, batch_size: int) -> slice:
        """Return this rank's places in a batch, which must divide evenly."""
        share = batch_size // self.size
        return slice(self.rank * share, (self.rank + 1) * share)


def alone(device: torch.device | None = None) -> Ranks:
    """Return the one process of a run that is not distributed."""
    return Ranks(rank=0, size=1, device=device or torch.device("cpu"))


@contextmanager
def joined(num_ranks: int) -> Iterator[Ranks]:
    """Join the group that torchrun started, and leave it at the end.

    Raises:
        ConfigError: torchrun started another number of processes than ``pretrain.num_ranks``.
    """
    device = best_device()
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_node_local_rank(0))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        if dist.get_world_size() != num_ranks:
            raise ConfigError(
                f"{dist.get_world_size()} processes were started together, but pretrain.num_ranks "
                f"is {num_ranks}; make them equal"
            )
        yield Ranks(rank=dist.get_rank(), size=num_ranks, device=device)
    finally:
        dist.destroy_process_group()
