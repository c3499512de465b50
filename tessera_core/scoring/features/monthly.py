"""The raw-series baseline: what a random forest gets without any encoder.

Twelve monthly values per band: medians of clear Sentinel-2 reflectance, means of Sentinel-1
backscatter for each orbit. Months without an observation are interpolated between neighbours.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.backscatter import DB_OFFSET, MISSING, STEPS_PER_DB
from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.tile import MAX_DAY

NUM_MONTHS: Final = 12
NUM_RAW_FEATURES: Final = NUM_MONTHS * (NUM_S2 + 2 * NUM_S1)

VALUE_BITS: Final = 16
"""Stored values are uint16; a cell number and a value share one sortable integer."""

# Stored backscatter is 20 log10 of power, twice the decibel of the product handbook.
DB_FOLD: Final = 2.0


def raw_features(pixels: DPixels) -> npt.NDArray[np.float32]:
    """Return monthly features of d-pixels, (N, 168), without NaN.

    Columns: ten S2 bands, then VV and VH ascending, then descending; twelve months each. A
    sensor that never saw a d-pixel gives zeros throughout.
    """
    parts = [
        monthly_medians(pixels.optical),
        monthly_means_db(pixels.ascending),
        monthly_means_db(pixels.descending),
    ]
    by_month = np.concatenate(parts, axis=2)
    features = by_month.transpose(0, 2, 1).reshape(len(pixels), NUM_RAW_FEATURES)
    return features.astype(np.float32)


def monthly_medians(optical: Series) -> npt.NDArray[np.float64]:
    """Return medians of clear reflectance x 10000, (N, 12, 10), gaps interpolated."""
    cell = _cells(optical)[optical.valid]
    count = np.bincount(cell, minlength=len(optical) * NUM_MONTHS)
    start = np.cumsum(count) - count
    seen = np.flatnonzero(count)
    lower = start[seen] + (count[seen] - 1) // 2
    upper = start[seen] + count[seen] // 2
    median = np.zeros((len(count), NUM_S2))
    for band in range(NUM_S2):
        value = optical.values[optical.valid, band].astype(np.int64)
        ordered = np.sort((cell << VALUE_BITS) | value) & ((1 << VALUE_BITS) - 1)
        median[seen, band] = (ordered[lower] + ordered[upper]) / 2
    seen_by_month = (count > 0).reshape(-1, NUM_MONTHS, 1)
    return fill_months(median.reshape(-1, NUM_MONTHS, NUM_S2), seen_by_month)


def monthly_means_db(radar: Series) -> npt.NDArray[np.float64]:
    """Return means of backscatter in dB of gamma0, (N, 12, 2), gaps interpolated."""
    cell = _cells(radar)
    num_cells = len(radar) * NUM_MONTHS
    mean = np.zeros((num_cells, NUM_S1))
    seen = np.zeros((num_cells, NUM_S1), bool)
    for band in range(NUM_S1):
        present = radar.values[:, band] != MISSING
        decibel = (radar.values[present, band] / STEPS_PER_DB - DB_OFFSET) / DB_FOLD
        count = np.bincount(cell[present], minlength=num_cells)
        total = np.bincount(cell[present], weights=decibel, minlength=num_cells)
        seen[:, band] = count > 0
        mean[:, band] = total / np.maximum(count, 1)
    shape = (-1, NUM_MONTHS, NUM_S1)
    return fill_months(mean.reshape(shape), seen.reshape(shape))


def fill_months(
    values: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return values with unseen months interpolated linearly along axis 1.

    Before the first and after the last seen month the nearest one is repeated; a series without
    any seen month becomes zeros.

    Args:
        values: (N, month, band).
        seen: (N, month, band or 1), True where a value was observed.
    """
    num_months = values.shape[1]
    month = np.arange(num_months)[None, :, None]
    before = np.maximum.accumulate(np.where(seen, month, -1), axis=1)
    after = np.where(seen, month, num_months)[:, ::-1]
    after = np.minimum.accumulate(after, axis=1)[:, ::-1]
    is_open = (before < 0) & (after == num_months)
    left = np.where(before < 0, after, before)
    right = np.where(after == num_months, before, after)
    # A series without any seen month has no end to hold on to; it is zeroed below.
    left, right = np.where(is_open, 0, left), np.where(is_open, 0, right)
    share = (month - left) / np.maximum(right - left, 1)
    low = np.take_along_axis(values, np.broadcast_to(left, values.shape), axis=1)
    high = np.take_along_axis(values, np.broadcast_to(right, values.shape), axis=1)
    return np.where(is_open, 0.0, low + np.clip(share, 0, 1) * (high - low))


def _cells(series: Series) -> npt.NDArray[Any]:
    """Return pixel x 12 + month of each observation, (M,); months are twelfths of the year."""
    pixel = np.repeat(np.arange(len(series)), np.diff(series.offsets))
    month = (series.day_of_year.astype(np.int64) - 1) * NUM_MONTHS // MAX_DAY
    return pixel * NUM_MONTHS + month
