"""Raw batches for tests: made-up d-pixels, padded, and batches whose values name observations."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.domain.padded import PaddedPixels, PaddedSeries

AS_STORED: Final = NormStats(
    s2=BandStats(mean=(0.0,) * NUM_S2, std=(1.0,) * NUM_S2),
    s1_ascending=BandStats(mean=(0.0,) * NUM_S1, std=(1.0,) * NUM_S1),
    s1_descending=BandStats(mean=(0.0,) * NUM_S1, std=(1.0,) * NUM_S1),
)
"""Normalisation that changes nothing."""


def padded_pixels(pixels: DPixels, *, num_padding: int = 0) -> PaddedPixels:
    """Return all observations of some d-pixels, padded to the longest and further."""
    return PaddedPixels(
        optical=_padded(pixels.optical, num_padding),
        ascending=_padded(pixels.ascending, num_padding),
        descending=_padded(pixels.descending, num_padding),
    )


def _padded(series: Series, num_padding: int) -> PaddedSeries:
    index, exists, valid = series.padded(np.arange(len(series)))
    values: npt.NDArray[Any] = np.where(exists[..., None], series.values[index], 0)
    values = values.astype(series.values.dtype)
    days = np.where(exists, series.day_of_year[index], 0).astype(np.uint16)
    further = ((0, 0), (0, num_padding))
    return PaddedSeries(
        values=np.pad(values, (*further, (0, 0))),
        day_of_year=np.pad(days, further),
        valid=np.pad(valid, further),
    )


def numbered_pixels(
    optical_BT: npt.NDArray[np.bool_],
    ascending_BT: npt.NDArray[np.bool_],
    descending_BT: npt.NDArray[np.bool_],
) -> PaddedPixels:
    """Return a batch of given validity in which every band and day of an observation is its place.

    Places count from 1; those of descending radar follow those of ascending.
    """
    return PaddedPixels(
        optical=_numbered(optical_BT, 0, NUM_S2, np.uint16),
        ascending=_numbered(ascending_BT, 0, NUM_S1, np.int16),
        descending=_numbered(descending_BT, ascending_BT.shape[1], NUM_S1, np.int16),
    )


def _numbered(
    valid_BT: npt.NDArray[np.bool_],
    first: int,
    num_bands: int,
    dtype: type[np.uint16] | type[np.int16],
) -> PaddedSeries:
    places_BT = np.tile(first + 1 + np.arange(valid_BT.shape[1]), (len(valid_BT), 1))
    values: npt.NDArray[Any] = np.repeat(places_BT[..., None], num_bands, axis=2).astype(dtype)
    return PaddedSeries(
        values=values,
        day_of_year=places_BT.astype(np.uint16),
        valid=valid_BT,
    )
