"""d-pixels to the sequences that a released model is given at inference.

Every usable observation becomes one token, normalised once, and all tokens of a sensor lie end to
end. A batch is then one gather: start of the d-pixel plus the positions that the model's sampling
rule chose. Nothing is padded, and no d-pixel can see another.

Shapes: N d-pixels, M usable observations in all, B d-pixels of a batch, T observations,
C bands + 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.domain.sampling import (
    GOLDEN_GAMMA,
    Rule,
    Sampling,
    mix_bits,
    observation_keys,
    v1_0_positions,
    v1_1_positions,
    v2_positions,
)
from tessera_core.model.tokens import Tokens, series_tokens

Rows = npt.NDArray[np.int64]

EMPTY_ORBIT_DAY: Final = 180
"""Day of the zero row that v1.0 puts in the place of an orbit without passes (method.md 3.1)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequences:
    """The usable observations of N d-pixels by one sensor, as model input."""

    tokens_MC: Tokens
    """(M, bands + 1) normalised bands and raw day of year."""

    offsets: Rows
    """(N + 1,), tokens of d-pixel i are ``offsets[i]:offsets[i + 1]``."""

    content_M: npt.NDArray[np.uint64]
    """(M,) hash of each observation as stored, for random sampling; empty where none is random."""

    def num_usable(self) -> Rows:
        """Return the number of tokens of each d-pixel, (N,)."""
        counts: Rows = np.diff(self.offsets)
        return counts

    def positions(self, rows: Rows, sampling: Sampling, length: int, seed: int) -> Rows:
        """Return which usable observation stands at each place of some d-pixels, (B, length).

        Args:
            rows: D-pixels.
            sampling: The model's rule.
            length: Length of the sequences, from ``Sampling.lengths_of``.
            seed: Decides what a random rule draws.
        """
        num = self.num_usable()[rows]
        if sampling.rule is Rule.V1_1_BUCKETS:
            return v1_1_positions(num, length)
        if sampling.rule is Rule.V2_BUCKETS:
            return v2_positions(num, length)
        return v1_0_positions(self._keys(rows, seed), num, length)

    def _keys(self, rows: Rows, seed: int) -> npt.NDArray[np.uint64]:
        """Return a random number per observation, (B, T); the largest where there is none."""
        start, num = self.offsets[rows], self.num_usable()[rows]
        steps = np.arange(num.max())
        exists = steps < num[:, None]
        index = np.where(exists, start[:, None] + steps, 0)
        keys_BT = observation_keys(self.content_M[index], seed)
        return np.where(exists, keys_BT, np.iinfo(np.uint64).max)


def sequences_of(
    pixels: DPixels, norms: NormStats, sampling: Sampling
) -> tuple[Sequences, Sequences, npt.NDArray[np.bool_]]:
    """Return the S2 and S1 sequences of some d-pixels, and which have data, (N,).

    S1 is ascending first, then descending, each normalised by its own statistics and not sorted by
    date (method.md 3.1 and 3.2). Obscured and missing observations do not count, with one
    exception: v1.0 falls back to all of them where a d-pixel has no usable one.
    """
    optical = (pixels.optical,)
    radar: tuple[Series, ...] = (pixels.ascending, pixels.descending)
    if sampling.rule is Rule.V1_0_SPARSE_RANDOM:
        seen = _has_values(pixels.optical)
        optical = (_or_all(pixels.optical, pixels.optical.num_valid() == 0),)
        silent = _num_valid(radar) == 0
        radar = tuple(_or_all(_with_zero_row(series, silent), silent) for series in radar)
    else:
        seen = _num_valid((*optical, *radar)) > 0
    s1_norms = (norms.s1_ascending, norms.s1_descending)
    return (
        _joined(optical, (norms.s2,), sampling),
        _joined(radar, s1_norms, sampling),
        seen,
    )


def _joined(parts: Sequence[Series], stats: Sequence[BandStats], sampling: Sampling) -> Sequences:
    """Return the usable observations of several series, pixel by pixel, part after part."""
    counts = [part.num_valid() for part in parts]
    offsets = np.concatenate([[0], np.cumsum(np.sum(counts, axis=0))]).astype(np.int64)
    width = len(stats[0].mean) + 1
    tokens = np.empty((offsets[-1], width), np.float32)
    content = np.empty(offsets[-1] if sampling.is_random else 0, np.uint64)
    start = offsets[:-1]
    for part, part_stats, num in zip(parts, stats, counts, strict=True):
        index = np.flatnonzero(part.valid)
        own = np.concatenate([[0], np.cumsum(num)])
        # The k-th usable observation of a d-pixel goes k places behind where its part begins.
        place = np.arange(len(index)) + np.repeat(start - own[:-1], num)
        tokens[place] = series_tokens(part, index, part_stats)
        if sampling.is_random:
            content[place] = _content(part, index) + _place_in_pixel(offsets, place) * GOLDEN_GAMMA
        start = start + num
    return Sequences(tokens_MC=tokens, offsets=offsets, content_M=content)


def _place_in_pixel(offsets: Rows, place: Rows) -> npt.NDArray[np.uint64]:
    """Return how many tokens of the same d-pixel stand before each place."""
    pixel = np.searchsorted(offsets, place, side="right") - 1
    return (place - offsets[pixel]).astype(np.uint64)


def _content(series: Series, index: Rows) -> npt.NDArray[np.uint64]:
    """Return a hash of the stored values and day of each observation."""
    weights = mix_bits(np.arange(1, series.values.shape[1] + 2, dtype=np.uint64))
    stored = series.values[index].astype(np.int64).astype(np.uint64)
    days = series.day_of_year[index].astype(np.uint64)
    bands: npt.NDArray[np.uint64] = (stored * weights[:-1]).sum(axis=1, dtype=np.uint64)
    content: npt.NDArray[np.uint64] = bands + days * weights[-1]
    return content


def _num_valid(parts: Sequence[Series]) -> Rows:
    """Return the usable observations of each d-pixel over several series, (N,)."""
    total: Rows = np.sum([part.num_valid() for part in parts], axis=0)
    return total


def _has_values(series: Series) -> npt.NDArray[np.bool_]:
    """Return which d-pixels have any value that is not 0, obscured or not, (N,)."""
    total = np.concatenate([[0], np.cumsum((series.values != 0).any(axis=1))])
    return np.asarray(total[series.offsets[1:]] > total[series.offsets[:-1]])


def _or_all(series: Series, rows: npt.NDArray[np.bool_]) -> Series:
    """Return the series with every observation of the marked d-pixels usable."""
    return Series(
        values=series.values,
        day_of_year=series.day_of_year,
        offsets=series.offsets,
        valid=series.valid | np.repeat(rows, np.diff(series.offsets)),
    )


def _with_zero_row(series: Series, rows: npt.NDArray[np.bool_]) -> Series:
    """Return the series with a zero row in the marked d-pixels that have no observation at all."""
    empty = rows & (np.diff(series.offsets) == 0)
    at = series.offsets[:-1][empty]
    return Series(
        values=np.insert(series.values, at, 0, axis=0),
        day_of_year=np.insert(series.day_of_year, at, EMPTY_ORBIT_DAY),
        offsets=series.offsets + np.concatenate([[0], np.cumsum(empty)]),
        valid=np.insert(series.valid, at, False),
    )
