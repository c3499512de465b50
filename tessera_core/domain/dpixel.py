"""d-pixels: many pixel-years with series of different length, stored end to end.

Each series keeps its values in one flat array and the start of every d-pixel in ``offsets``,
so that a million ragged pixels are six arrays and any subset is a vectorised gather.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tessera_core.domain.backscatter import present_mask
from tessera_core.domain.scl import clear_mask
from tessera_core.errors import RecordError

Rows = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One sensor's observations of N d-pixels, M observations in all."""

    values: npt.NDArray[np.uint16] | npt.NDArray[np.int16]
    """(M, band), stored units."""

    day_of_year: npt.NDArray[np.uint16]
    """(M,), 1..366."""

    offsets: npt.NDArray[np.int64]
    """(N + 1,), observations of d-pixel i are ``offsets[i]:offsets[i + 1]``."""

    valid: npt.NDArray[np.bool_]
    """(M,), clear for S2, present for S1."""

    def __post_init__(self) -> None:
        """Check that the flat arrays agree."""
        num = len(self.values)
        if len(self.day_of_year) != num or len(self.valid) != num:
            raise RecordError(
                f"a series has {num} values, {len(self.day_of_year)} days and "
                f"{len(self.valid)} validity flags; expected equal counts"
            )
        ends_fit = len(self.offsets) > 0 and self.offsets[0] == 0 and self.offsets[-1] == num
        if not ends_fit or (self.offsets[1:] < self.offsets[:-1]).any():
            raise RecordError(
                f"offsets must run from 0 to {num}, the number of observations, without falling"
            )

    def __len__(self) -> int:
        """Return the number of d-pixels."""
        return len(self.offsets) - 1

    def num_valid(self) -> npt.NDArray[np.int64]:
        """Return the number of valid observations of each d-pixel, (N,)."""
        total = np.concatenate([[0], np.cumsum(self.valid)])
        counts: npt.NDArray[np.int64] = total[self.offsets[1:]] - total[self.offsets[:-1]]
        return counts

    def padded(
        self, rows: Rows
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return where the observations of some d-pixels lie, padded to the longest.

        Returns:
            index (B, T) into the flat arrays, exists (B, T) False where padded, and
            valid (B, T), False where padded too. T may be 0.
        """
        start, stop = self.offsets[rows], self.offsets[rows + 1]
        length = stop - start
        steps = np.arange(length.max(initial=0))
        exists = steps < length[:, None]
        index = np.where(exists, start[:, None] + steps, 0)
        valid = exists & self.valid[index] if len(self.valid) else exists
        return index, exists, valid

    def take(self, rows: Rows) -> Self:
        """Return the series of some d-pixels, in that order."""
        index, exists, _ = self.padded(rows)
        flat = index[exists]
        lengths = exists.sum(axis=1) if exists.size else np.zeros(len(rows), np.int64)
        return type(self)(
            values=self.values[flat],
            day_of_year=self.day_of_year[flat],
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            valid=self.valid[flat],
        )

    def span(self, start: int, stop: int) -> Self:
        """Return the series of the d-pixels ``start`` up to before ``stop``, without a copy."""
        first, last = self.offsets[start], self.offsets[stop]
        return type(self)(
            values=self.values[first:last],
            day_of_year=self.day_of_year[first:last],
            offsets=self.offsets[start : stop + 1] - first,
            valid=self.valid[first:last],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DPixels:
    """N d-pixels with all their observations."""

    optical: Series
    """Sentinel-2: uint16 reflectance x 10000, ten bands."""

    ascending: Series
    """Sentinel-1 ascending: int16 scaled dB, VV VH."""

    descending: Series
    """Sentinel-1 descending: int16 scaled dB, VV VH."""

    def __post_init__(self) -> None:
        """Check that all sensors describe the same d-pixels."""
        counts = (len(self.optical), len(self.ascending), len(self.descending))
        if len(set(counts)) != 1:
            raise RecordError(
                f"S2, ascending and descending series hold {counts} d-pixels; expected equal counts"
            )

    def __len__(self) -> int:
        """Return the number of d-pixels."""
        return len(self.optical)

    def take(self, rows: Rows) -> Self:
        """Return some d-pixels, in that order."""
        return type(self)(
            optical=self.optical.take(rows),
            ascending=self.ascending.take(rows),
            descending=self.descending.take(rows),
        )

    def span(self, start: int, stop: int) -> Self:
        """Return the d-pixels ``start`` up to before ``stop``, without a copy."""
        return type(self)(
            optical=self.optical.span(start, stop),
            ascending=self.ascending.span(start, stop),
            descending=self.descending.span(start, stop),
        )


def optical_series(
    reflectance: npt.NDArray[np.uint16],
    scl: npt.NDArray[np.uint8],
    day_of_year: npt.NDArray[np.uint16],
    offsets: npt.NDArray[np.int64],
) -> Series:
    """Return an S2 series whose validity follows from the scene classes."""
    return Series(
        values=reflectance, day_of_year=day_of_year, offsets=offsets, valid=clear_mask(scl)
    )


def radar_series(
    backscatter_scaled_db: npt.NDArray[np.int16],
    day_of_year: npt.NDArray[np.uint16],
    offsets: npt.NDArray[np.int64],
) -> Series:
    """Return an S1 series whose validity follows from the missing value."""
    return Series(
        values=backscatter_scaled_db,
        day_of_year=day_of_year,
        offsets=offsets,
        valid=present_mask(backscatter_scaled_db),
    )


def concatenate(parts: Sequence[DPixels]) -> DPixels:
    """Return all d-pixels of several sets, one after the other; at least one set."""
    return DPixels(
        optical=_concatenate_series([part.optical for part in parts]),
        ascending=_concatenate_series([part.ascending for part in parts]),
        descending=_concatenate_series([part.descending for part in parts]),
    )


def _concatenate_series(parts: Sequence[Series]) -> Series:
    starts = np.cumsum([0] + [len(part.values) for part in parts])
    shifted = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    return Series(
        values=np.concatenate([part.values for part in parts]),
        day_of_year=np.concatenate([part.day_of_year for part in parts]),
        offsets=np.concatenate([*shifted, starts[-1:]]).astype(np.int64),
        valid=np.concatenate([part.valid for part in parts]),
    )
