"""Normalisation statistics of the train split."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.errors import InputError

NEUTRAL = BandStats(mean=(0.0,) * NUM_S1, std=(1.0,) * NUM_S1)
"""For sample sets without any radar: its tokens are zero anyway."""


def compute_norms(pixels: DPixels) -> NormStats:
    """Return mean and deviation per band: S2 over clear, S1 over present observations.

    An orbit that the train split never saw takes the other orbit's statistics, so that a later
    tile that has it is still encoded sensibly.

    Raises:
        InputError: No observation is clear, or a band is constant.
    """
    if not pixels.optical.valid.any():
        raise InputError("the train split has no clear S2 observation; check masks and tiles")
    ascending, descending = _stats(pixels.ascending), _stats(pixels.descending)
    s2 = _stats(pixels.optical)
    if s2 is None:
        raise InputError("a Sentinel-2 band is constant over the train split; check the source")
    return NormStats(
        s2=s2,
        s1_ascending=ascending or descending or NEUTRAL,
        s1_descending=descending or ascending or NEUTRAL,
    )


def _stats(series: Series) -> BandStats | None:
    """Return statistics of valid observations, or None when a band has no spread."""
    values: npt.NDArray[Any] = series.values[series.valid]
    columns = [values[:, band].astype(np.float64) for band in range(values.shape[1])]
    if values.dtype == np.int16:
        # One polarisation may be missing where the other is there.
        columns = [column[column != 0] for column in columns]
    if any(len(column) < 2 or column.std() == 0 for column in columns):
        return None
    return BandStats(
        mean=tuple(float(column.mean()) for column in columns),
        std=tuple(float(column.std()) for column in columns),
    )
