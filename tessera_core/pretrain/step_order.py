"""Which d-pixels a step sees, and what its chance is: a pure function of settings and step.

Nothing is carried from step to step, so resuming needs no sampler state, and any number of ranks
or loaders sees the same batches.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.sampling import mix_bits
from tessera_core.pretrain.config import PretrainConfig

EPOCH_STREAM: Final = 0
STEP_STREAM: Final = 1
"""Keep the random streams of epochs and steps apart."""

NUM_ROUNDS: Final = 6
"""Of the Feistel network; four make it a pseudo-random permutation (Luby and Rackoff 1988)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepPlan:
    """What one step sees, over all ranks."""

    step: int
    """Which one."""

    rows_B: npt.NDArray[np.int64]
    """D-pixels of the train split, in the order of the batch."""

    partner_B: npt.NDArray[np.int64]
    """Permutation of the batch: whose second view each d-pixel is mixed with."""

    mix_share: float
    """Share of the first view in the mix, 0..1; one for the whole batch."""

    lengths: tuple[int, int]
    """Observations per view, S2 and S1."""

    key: int
    """Decides, with a d-pixel's position in the batch, what its views are; below 2^63."""


def plan_step(step: int, num_pixels: int, config: PretrainConfig) -> StepPlan:
    """Return the plan of a step over a train split of ``num_pixels``."""
    rows_B = rows_of_step(step, num_pixels, config)
    rng = np.random.default_rng([config.seed, STEP_STREAM, step])
    s2_length, s1_length = rng.choice(config.view_lengths, 2)
    return StepPlan(
        step=step,
        rows_B=rows_B,
        partner_B=rng.permutation(len(rows_B)),
        mix_share=float(rng.beta(1.0, 1.0)),
        lengths=(int(s2_length), int(s1_length)),
        key=int(rng.integers(2**63)),
    )


def rows_of_step(step: int, num_pixels: int, config: PretrainConfig) -> npt.NDArray[np.int64]:
    """Return the d-pixels of a step (B,); each epoch leaves out its remainder.

    With ``reshuffle`` each epoch is a permutation of its own, computed place by place, so that a
    billion d-pixels need no list of them. A set that is smaller than a batch is a batch, as far
    as the ranks can share it evenly.
    """
    size = min(config.batch_size, num_pixels // config.num_ranks * config.num_ranks)
    epoch, position = divmod(step, num_pixels // size)
    places = np.arange(position * size, (position + 1) * size)
    if not config.reshuffle:
        return places
    rng = np.random.default_rng([config.seed, EPOCH_STREAM, epoch])
    words = rng.integers(2**64, size=NUM_ROUNDS, dtype=np.uint64)
    return permuted(places, num_pixels, words)


def permuted(
    places: npt.NDArray[np.int64], num: int, words: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Return where a pseudo-random permutation of 0 .. num - 1 sends some places.

    A Feistel network permutes the smallest square power of two that holds ``num``; what lands
    outside goes through it again until it is inside (Black and Rogaway 2002).

    Args:
        places: 0 .. num - 1, any shape.
        num: Size of the permuted set.
        words: One random number per round; they choose the permutation.
    """
    half_bits = np.uint64(max(1, (max(num - 1, 1).bit_length() + 1) // 2))
    half_mask = np.uint64((1 << int(half_bits)) - 1)
    found = places.astype(np.uint64)
    outside = np.ones(found.shape, np.bool_)
    while outside.any():
        left, right = found[outside] >> half_bits, found[outside] & half_mask
        for word in words:
            left, right = right, left ^ (mix_bits(right + word) & half_mask)
        found[outside] = (left << half_bits) | right
        outside = found >= num
    return found.astype(np.int64)
