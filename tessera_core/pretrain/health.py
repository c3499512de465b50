"""Is this still learning? What is measured of a step, and what stops it.

Shapes: B d-pixels, E embedding width.
"""

import math
from typing import Final

from torch import Tensor

from tessera_core.errors import TrainingError

MIN_RANK: Final = 0.05
"""A representation that uses fewer directions than this has collapsed."""

MAX_DEAD_SHARE: Final = 0.9
DEAD: Final = 0.01
"""A dimension that varies less than this part of the liveliest one says nothing."""

MIN_TILE_COVERAGE: Final = 0.5
"""Batches of a globally shuffled set see about the expected number of tiles; sorted ones a few."""

ENOUGH_PIXELS: Final = 32
"""Fewer d-pixels may agree by chance."""


def require_finite(step: int, **values: float) -> None:
    """Raise TrainingError when a value is NaN or infinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} at step {step}; the weights were not updated. "
                "Lower pretrain.peak_lr or check the norms of the shards"
            )


def require_alive(step: int, rank: float, dead_share: float) -> None:
    """Raise TrainingError when the embeddings have collapsed, to a point or to a few directions.

    Args:
        step: Where it was measured.
        rank: Normalised RankMe of the embeddings, 0..1; NaN is refused.
        dead_share: Share of dimensions that hardly vary, 0..1.
    """
    if not rank >= MIN_RANK:
        raise TrainingError(
            f"RankMe of the embeddings fell to {rank:.3f} at step {step}, expected above "
            f"{MIN_RANK}; the model has collapsed. Lower pretrain.peak_lr or raise batch_size"
        )
    if dead_share > MAX_DEAD_SHARE:
        raise TrainingError(
            f"{dead_share:.0%} of the embedding's dimensions hardly vary at step {step}, expected "
            f"less than {MAX_DEAD_SHARE:.0%}; the model has collapsed. Lower pretrain.peak_lr or "
            "raise batch_size"
        )


def require_two_views(step: int, overlap: float, num_able: int) -> None:
    """Raise TrainingError when both views of all d-pixels are the same (method.md 12).

    Args:
        step: Where it was measured.
        overlap: Share of places at which both views hold the same observation, 0..1.
        num_able: D-pixels of the batch with two clear observations or more.
    """
    if overlap == 1 and num_able >= ENOUGH_PIXELS:
        raise TrainingError(
            f"both views are identical at step {step} though {num_able} d-pixels have several "
            "clear observations; nothing can be learnt from that. Is the random number broken?"
        )


def require_mixed_tiles(step: int, num_tiles: int, expected: float) -> None:
    """Raise TrainingError when a batch sees far fewer tiles than a shuffled set would show.

    Neighbours in one batch bias every correlation (method.md 12).

    Args:
        step: Where it was measured.
        num_tiles: Distinct tiles of the batch.
        expected: How many a random batch of this size has on average.
    """
    if num_tiles < MIN_TILE_COVERAGE * expected:
        raise TrainingError(
            f"the batch of step {step} comes from {num_tiles} tiles, expected about "
            f"{expected:.0f}; the shards are not shuffled over all tiles. Run `tessera shuffle`"
        )


def dead_share(values_BE: Tensor) -> float:
    """Return the share of dimensions that vary less than 1 % of the liveliest one, 0..1."""
    deviation_E = values_BE.float().std(0)
    return float((deviation_E <= DEAD * deviation_E.max()).float().mean())
