"""Any d-pixels as one padded batch, copied from arrays in memory or mapped.

Shapes: B d-pixels, T observations (padded), C bands.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.padded import PaddedPixels, PaddedSeries
from tessera_core.errors import RecordError

LENGTH_STEP: Final = 8
"""T is a multiple of this, so that few lengths, and so few shapes, reach the device."""


def gather(pixels: DPixels, rows: npt.NDArray[np.int64]) -> PaddedPixels:
    """Copy all observations of some d-pixels into arrays of their own.

    May be called from several threads at once: the copying holds no GIL.

    Args:
        pixels: Where to gather from, its arrays in C order.
        rows: (B,), d-pixels in any order, repeats allowed.

    Raises:
        RecordError: A row does not exist, or rows are not int64 (B,).
    """
    check_rows(rows, len(pixels))
    return PaddedPixels(
        optical=_gather_series(pixels.optical, rows),
        ascending=_gather_series(pixels.ascending, rows),
        descending=_gather_series(pixels.descending, rows),
    )


def check_rows(rows: npt.NDArray[np.int64], num_pixels: int) -> None:
    """Refuse rows that are not int64 (B,), or not below ``num_pixels``, with a RecordError."""
    if rows.ndim != 1 or rows.dtype != np.int64:
        raise RecordError(f"rows are {rows.dtype} {rows.shape}, expected int64 (B,)")
    if len(rows) and not 0 <= rows.min() <= rows.max() < num_pixels:
        raise RecordError(
            f"rows {rows.min()} to {rows.max()} were asked for, expected 0 to {num_pixels - 1}: "
            f"there are {num_pixels} d-pixels"
        )


def padded_length(longest: int) -> int:
    """Return T for the longest series of a batch; 0 stays 0."""
    return -(-longest // LENGTH_STEP) * LENGTH_STEP


def _gather_series(series: Series, rows: npt.NDArray[np.int64]) -> PaddedSeries:
    # Loads numba, which a process that only decodes or checks shards never needs.
    from tessera_core.feed.kernels import copy_padded, longest

    num_pixels, num_bands = len(rows), series.values.shape[1]
    length = padded_length(longest(series.offsets, rows))
    # Not np.zeros: the kernel writes every element, padding too, and so each only once.
    values: npt.NDArray[Any] = np.empty((num_pixels, length, num_bands), series.values.dtype)
    day_of_year = np.empty((num_pixels, length), np.uint16)
    valid = np.empty((num_pixels, length), np.bool_)
    # Bits are copied, whatever they mean, so that one compiled kernel serves all sensors.
    copy_padded(
        series.values.view(np.uint16).reshape(-1, copy=False),
        series.day_of_year,
        series.valid.view(np.uint8),
        series.offsets,
        rows,
        num_bands,
        values.view(np.uint16).reshape(num_pixels, length * num_bands),
        day_of_year,
        valid.view(np.uint8),
    )
    return PaddedSeries(values=values, day_of_year=day_of_year, valid=valid)
