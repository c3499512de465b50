"""Made-up d-pixels that imported weights are checked with at every load.

Released weights come without data. These cover what a rule could get wrong: few and many
observations, more than the largest bucket, a missing orbit, a missing sensor, days past 256.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import NormStats
from tessera_core.domain.sampling import Sampling
from tessera_core.model.sequences import sequences_of

COUNTS: Final = (
    (36, 30, 28), (52, 0, 40), (9, 17, 0), (1, 1, 0),
    (3, 0, 0), (0, 5, 8), (270, 160, 120), (24, 8, 8),
)  # fmt: skip
"""Usable observations of each canary: S2, S1 ascending, S1 descending."""

LAST_DAY: Final = 366


def made_up_canaries(norms: NormStats, sampling: Sampling) -> DPixels:
    """Return the same few d-pixels every time; seasons and levels differ as land covers do.

    Those in which a sampling rule sees nothing are left out: v1.0 embeds nothing without S2.
    """
    s2, ascending, descending = np.array(COUNTS).T
    pixels = DPixels(
        optical=_series(s2, NUM_S2, 1, base=900, season=1400, step=180, dtype=np.uint16),
        ascending=_series(ascending, NUM_S1, 2, base=5600, season=500, step=-2300, dtype=np.int16),
        descending=_series(
            descending, NUM_S1, 3, base=5400, season=450, step=-2200, dtype=np.int16
        ),
    )
    *_, has_data = sequences_of(pixels, norms, sampling)
    return pixels.take(np.flatnonzero(has_data))


def _series(
    num_usable: npt.NDArray[np.int64],
    num_bands: int,
    phase: int,
    *,
    base: int,
    season: int,
    step: int,
    dtype: type[np.uint16] | type[np.int16],
) -> Series:
    """Return one sensor's series: a seasonal curve per d-pixel, no random numbers."""
    offsets = np.concatenate([[0], np.cumsum(num_usable)]).astype(np.int64)
    pixel = np.repeat(np.arange(len(num_usable)), num_usable)
    place = np.arange(offsets[-1]) - offsets[pixel]
    days = 1 + place * (LAST_DAY - 1) // np.maximum(num_usable[pixel] - 1, 1)
    angle = 2 * np.pi * (days / LAST_DAY + pixel / 7 + phase / 5)
    level = base + 37 * pixel + season * np.sin(angle) ** 2
    values = level[:, None] + step * np.arange(num_bands) + 11 * (place[:, None] % 13)
    return Series(
        values=values.astype(dtype),
        day_of_year=np.minimum(days, LAST_DAY).astype(np.uint16),
        offsets=offsets,
        valid=np.ones(len(pixel), np.bool_),
    )
