"""Whether other dates of the same d-pixel give the same embedding."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.diagnostics.reading import Reading
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.geometry import (
    Ints,
    Values,
    mean_cosine,
    nearest,
    require_rows,
)
from tessera_core.pretrain.probe import single_blas_thread

MIN_DATES: Final = 2
"""Clear Sentinel-2 dates that a d-pixel needs, so that both halves see one."""

MIN_ROWS: Final = 3


def split_dates(pixels: DPixels) -> tuple[DPixels, DPixels, Ints]:
    """Return two sets of the same d-pixels that share no date of any sensor.

    The usable dates of each sensor and orbit go alternately to the first and the second half,
    so that both span the year; observations of one day stay together. Obscured and missing
    observations are left out.

    Returns:
        The halves, and the rows of ``pixels`` that they hold: those with ``MIN_DATES`` clear
        Sentinel-2 dates or more.
    """
    halves = [_halves(series) for series in (pixels.optical, pixels.ascending, pixels.descending)]
    first, second = (
        DPixels(optical=optical, ascending=ascending, descending=descending)
        for optical, ascending, descending in zip(*halves, strict=True)
    )
    rows = np.flatnonzero(second.optical.num_valid() > 0).astype(np.int64)
    return first.take(rows), second.take(rows), rows


def measure_stability(first_ND: Values, second_ND: Values) -> Reading:
    """Return the mean cosine of two embeddings of each d-pixel, -1..1; 1 is best.

    Both are centred by their common mean, so a mean that all embeddings share does not help, and
    one that only a half has does harm. About 0 is what strangers have. Beside it:
    ``same_neighbour``, the share of d-pixels whose nearest neighbour is the same in both halves
    (0..1, more is better, chance is 1 / N); ``found_again``, the share whose nearest embedding in
    the other half is their own (0..1, more is better); ``distance_ratio``, the distance of the
    two embeddings over that of random pairs (root mean squares; 0 is best, 1 is a stranger's).

    Args:
        first_ND: Embeddings of the first halves; see ``split_dates``.
        second_ND: Of the second halves of the same d-pixels.
    """
    first = require_rows(first_ND, "embeddings of the first half", least=0)
    second = require_rows(second_ND, "embeddings of the second half", least=0)
    num = len(first)
    if num < MIN_ROWS:
        return Reading.missing(
            f"{num} d-pixels have {MIN_DATES} clear Sentinel-2 dates, expected {MIN_ROWS}"
        )
    centre = (first.mean(axis=0) + second.mean(axis=0)) / 2
    first, second = first - centre, second - centre
    own = float(((first - second) ** 2).sum(axis=1).mean())
    # All pairs in closed form, less the N of a d-pixel with itself.
    total = (first**2).sum() * num + (second**2).sum() * num
    total -= 2 * float(first.sum(axis=0) @ second.sum(axis=0))
    strangers = float(total - own * num) / (num * (num - 1))
    if strangers <= 0:
        return Reading.missing("all embeddings are equal")
    row = np.arange(num)
    nobody = np.full(num, -1)
    with single_blas_thread():
        near_first = nearest(first, first, 1, apart_M=row, apart_N=row)
        near_second = nearest(second, second, 1, apart_M=row, apart_N=row)
        across = nearest(first, second, 1, apart_M=row, apart_N=nobody)
    return Reading(
        value=mean_cosine(first, second),
        more={
            "same_neighbour": float((near_first == near_second).mean()),
            "found_again": float((across[:, 0] == row).mean()),
            "distance_ratio": float(np.sqrt(own / strangers)),
            "num_pixels": num,
        },
    )


def _halves(series: Series) -> tuple[Series, Series]:
    """Return the usable observations of alternate dates."""
    pixel = np.repeat(np.arange(len(series)), np.diff(series.offsets))
    kept = np.flatnonzero(series.valid)
    kept = kept[np.lexsort((series.day_of_year[kept], pixel[kept]))]
    owner, day = pixel[kept], series.day_of_year[kept]
    is_first = np.ones(len(kept), np.bool_)
    is_first[1:] = owner[1:] != owner[:-1]
    is_date = is_first.copy()
    is_date[1:] |= day[1:] != day[:-1]
    date = np.cumsum(is_date)
    # Dates are numbered from 0 within each d-pixel.
    place: Ints = date - np.maximum.accumulate(np.where(is_first, date, 0))
    is_even: npt.NDArray[np.bool_] = place % 2 == 0
    return _some(series, kept, owner, is_even), _some(series, kept, owner, ~is_even)


def _some(series: Series, kept: Ints, owner: Ints, mask: npt.NDArray[np.bool_]) -> Series:
    index = kept[mask]
    counts = np.bincount(owner[mask], minlength=len(series))
    return Series(
        values=series.values[index],
        day_of_year=series.day_of_year[index],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        valid=np.ones(len(index), np.bool_),
    )
