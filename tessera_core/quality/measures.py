"""Vectorised measures of ragged series: gaps, twins, quantiles. Arrays in, arrays out.

Shapes: N d-pixels, M observations, K valid observations.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import Series

Days = npt.NDArray[np.integer]

NUM_MONTHS: Final = 12

# The finaliser of splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
# generators"): every input bit reaches every output bit.
_MIX_STEPS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT: Final = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How the values of one band are distributed; all None when there are none."""

    num_values: int
    """Valid observations."""

    minimum: int | None
    """Smallest value, stored units."""

    quantile_01: int | None
    """Value that 1 % of the observations do not exceed."""

    median: int | None
    """Value that half of the observations do not exceed."""

    quantile_99: int | None
    """Value that 99 % of the observations do not exceed."""

    maximum: int | None
    """Largest value, stored units."""

    spread: int | None
    """``quantile_99 - quantile_01``; 0 = the band is constant."""

    share_zero: float | None
    """Share of zeros, 0..1."""

    share_saturated: float | None
    """Share of the highest value that the type can hold, 0..1."""


def distribution(values: npt.NDArray[np.uint16] | npt.NDArray[np.int16]) -> Distribution:
    """Return exact order statistics of 16-bit integers (K,) from one histogram.

    A quantile is the smallest stored value that the given share does not exceed, so it is a
    value that occurs.
    """
    limits = np.iinfo(values.dtype)
    if len(values) == 0:
        return Distribution(num_values=0, **dict.fromkeys(_ORDER_STATISTICS))
    # 65536 counters, however many observations: nothing is sorted.
    counts = np.bincount(values.astype(np.int32) - limits.min, minlength=1 << limits.bits)
    cumulative = np.cumsum(counts)
    total = len(values)

    def at(percent: int) -> int:
        rank = max(1, -(-percent * total // 100))
        return int(np.searchsorted(cumulative, rank)) + limits.min

    low, high = at(1), at(99)
    return Distribution(
        num_values=total,
        minimum=at(0),
        quantile_01=low,
        median=at(50),
        quantile_99=high,
        maximum=at(100),
        spread=high - low,
        share_zero=float(counts[-limits.min] / total),
        share_saturated=float(counts[-1] / total),
    )


_ORDER_STATISTICS: Final = tuple(
    name for name in Distribution.__dataclass_fields__ if name != "num_values"
)


def days_in_year(year: int) -> int:
    """Return 365 or 366."""
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days


def longest_gap(days: Days, num_days: int) -> tuple[int, int]:
    """Return the longest run of days that are not in ``days``, and its first day.

    The year's edges count: days before the first and after the last entry are a run too, so
    a tile seen in one season only has a long gap. The earliest of equally long runs is named.

    Args:
        days: Days of year in any order, repeats allowed; may be empty.
        num_days: Length of the year.
    """
    edges = np.concatenate([[0], np.unique(days.astype(np.int64)), [num_days + 1]])
    runs = np.diff(edges) - 1
    longest = int(runs.argmax())
    return max(0, int(runs[longest])), int(edges[longest]) + 1


def longest_gaps(series: Series, num_days: int) -> npt.NDArray[np.int64]:
    """Return, for each d-pixel (N,), its longest run of days without a valid observation.

    Counted as in ``longest_gap``; ``num_days`` where nothing is valid. The observations of a
    d-pixel must be in time order.
    """
    num_valid = series.num_valid()
    gaps = np.full(len(series), num_days, np.int64)
    seen = num_valid > 0
    if not seen.any():
        return gaps
    days = series.day_of_year[series.valid].astype(np.int64)
    starts = (np.cumsum(num_valid) - num_valid)[seen]
    stops = starts + num_valid[seen]
    before = np.diff(days, prepend=0)
    before[starts] = days[starts]
    after = num_days - days[stops - 1]
    gaps[seen] = np.maximum(np.maximum.reduceat(before - 1, starts), after)
    return gaps


def num_with_twin(series: Series) -> int:
    """Return how many d-pixels with a valid observation have the whole series of another.

    Values and days of all observations are compared, by a 64-bit digest: for a million
    d-pixels the chance of one false twin is about 1 in 40 million.
    """
    keys = _series_digests(series)[series.num_valid() > 0]
    _, counts = np.unique(keys, return_counts=True)
    return int(counts[counts > 1].sum())


def _series_digests(series: Series) -> npt.NDArray[np.uint64]:
    """Return one number per d-pixel (N,) that follows from all its values and days."""
    digest_M = _mixed(series.day_of_year.astype(np.uint64) + np.uint64(1))
    for band in range(series.values.shape[1]):
        digest_M = _mixed(digest_M ^ series.values[:, band].astype(np.uint64))
    # Sums of unsigned integers wrap around, and differences undo that: no loop over d-pixels.
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(digest_M, dtype=np.uint64)])
    digests: npt.NDArray[np.uint64] = total[series.offsets[1:]] - total[series.offsets[:-1]]
    return digests


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return well-scattered numbers, distinct for distinct inputs."""
    for shift, factor in _MIX_STEPS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(_LAST_SHIFT))


def num_valid_by_month(series: Series, year: int) -> npt.NDArray[np.int64]:
    """Return how many valid observations fall in each month, (12,)."""
    new_year = date(year, 1, 1).toordinal()
    starts = [date(year, month, 1).toordinal() - new_year + 1 for month in range(2, NUM_MONTHS + 1)]
    months = np.searchsorted(starts, series.day_of_year[series.valid], side="right")
    counts: npt.NDArray[np.int64] = np.bincount(months, minlength=NUM_MONTHS)
    return counts


def is_in_time_order(series: Series) -> npt.NDArray[np.bool_]:
    """Return, for each d-pixel (N,), whether its days never run backwards."""
    backwards = np.zeros(len(series.day_of_year) + 1, np.int64)
    steps = np.diff(series.day_of_year.astype(np.int64))
    backwards[2:] = np.cumsum(steps < 0)
    first, stop = series.offsets[:-1], series.offsets[1:]
    # Entry i + 1 counts the steps backwards up to observation i; the step into a d-pixel's
    # first observation comes from another d-pixel and is left out.
    inside = backwards[stop] - backwards[np.minimum(first + 1, stop)]
    ordered: npt.NDArray[np.bool_] = inside == 0
    return ordered


def masked_median(
    values_BT: npt.NDArray[np.floating[Any]], valid_BT: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the median over the valid entries of each row (B,); NaN where none is."""
    medians = np.full(len(values_BT), np.nan)
    rows = valid_BT.any(axis=1)
    if rows.any():
        medians[rows] = np.nanmedian(np.where(valid_BT, values_BT, np.nan)[rows], axis=1)
    return medians
