"""How well batches mix tiles: what a global shuffle would give, and what a batch has.

Shapes: B d-pixels, K tiles.
"""

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError


def expected_distinct(counts_K: npt.NDArray[np.int64], batch_size: int) -> float:
    """Return how many tiles a batch drawn from all d-pixels at random has in the mean.

    A tile with the share p of all d-pixels is missed by all B draws with probability
    ``(1 - p)^B``, so the mean is the sum of ``1 - (1 - p)^B``. Draws count as independent, which
    is exact with replacement, and a little low for a batch that is a large part of the set.

    Args:
        counts_K: (K,), d-pixels of each tile, 0 or more, not all 0.
        batch_size: B, 0 or more.

    Raises:
        InputError: A count or the batch size is negative, or there is no d-pixel.
    """
    total = int(counts_K.sum())
    if total < 1 or counts_K.min() < 0 or batch_size < 0:
        raise InputError(
            f"tiles of {counts_K.tolist()[:8]} d-pixels and batches of {batch_size} were given, "
            "expected at least one d-pixel and no negative number"
        )
    return float((1 - (1 - counts_K / total) ** batch_size).sum())


def num_distinct(tile_B: npt.NDArray[np.int32]) -> int:
    """Return the number of tiles in a batch, given the (B,) code of each d-pixel's tile."""
    return len(np.unique(tile_B))
