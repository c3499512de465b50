"""What a task is scored on: units with truth, the d-pixels behind them, and their embeddings.

A unit is what gets one prediction: a d-pixel for most kinds, a patch of ground for multi-label.
Shapes: U units, P d-pixels, D embedding, L labels, S chip edge, N chips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels, concatenate
from tessera_core.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Embedding = npt.NDArray[np.float32]

NO_PIXEL: Final = -1
"""A place in a chip where there is no d-pixel."""

_BY_UNIT: Final = (
    "tile", "year", "row", "column", "truth", "group", "field", "region", "position", "given",
    "key",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """U units of one task."""

    tile: npt.NDArray[np.str_]
    """(U,), tile, or table, that the unit is in."""

    year: npt.NDArray[np.int32]
    """(U,), calendar year."""

    row: npt.NDArray[np.int32]
    """(U,), pixel row in the tile (of a patch: its first); row of the table."""

    column: npt.NDArray[np.int32]
    """(U,), pixel column in the tile; 0 in a table."""

    truth: Floats
    """(U,) class code or value, NaN = not labelled (in chips only); (U, L) of 0 and 1."""

    group: Ints
    """(U,), what goes whole to one side of a split."""

    field: Ints
    """(U,), field that the unit lies in, negative where there is none: chips of two sides of a
    split must not share it."""

    region: npt.NDArray[np.str_]
    """(U,), name of the region; empty where the task knows none."""

    position: Ints
    """(U,), the same for the same place on earth, in whatever year or tile."""

    given: npt.NDArray[np.str_]
    """(U,), ``train``, ``test`` or empty, as the labels say it."""

    key: Floats
    """(U,), 0..1, random; the smallest keys of a group are used."""

    unit: Ints
    """(P,), the unit that a d-pixel belongs to, ascending."""

    embedding: Embedding
    """(P, D), of the encoder that is scored."""

    pixels: DPixels
    """P d-pixels."""

    chip: Ints | None = None
    """(N, S, S), the unit at each place of a chip, ``NO_PIXEL`` where there is none."""

    label_codes: tuple[int, ...] = ()
    """Codes of the L labels, ascending; empty where there is one label."""

    def __post_init__(self) -> None:
        """Check that all parts describe the same units."""
        counts = {name: len(getattr(self, name)) for name in _BY_UNIT}
        if len(set(counts.values())) != 1:
            raise InputError(f"examples disagree about their number: {counts}")
        if not len(self.unit) == len(self.pixels) == len(self.embedding):
            raise InputError(
                f"{len(self.pixels)} d-pixels have {len(self.embedding)} embeddings and belong "
                f"to {len(self.unit)} units; expected equal counts"
            )

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.truth)

    def pool(self, features: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the mean of each unit's d-pixels, (U, F), of features (P, F)."""
        if len(self.unit) == len(self) and (self.unit == np.arange(len(self))).all():
            return features
        starts = np.searchsorted(self.unit, np.arange(len(self)))
        counts = np.diff(np.append(starts, len(self.unit)))
        shape = (-1, *(1,) * (features.ndim - 1))
        sums = np.add.reduceat(features.astype(np.float64), starts, axis=0)
        return (sums / counts.reshape(shape)).astype(np.float32)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Self:
        """Return some units, in ascending order; chips cannot be taken apart.

        Args:
            rows: Ascending unit numbers.
        """
        if self.chip is not None:
            raise InputError("units of a chip stay together; choose chips, not units")
        kept = np.isin(self.unit, rows)
        pixel = np.flatnonzero(kept)
        return type(self)(
            **{name: getattr(self, name)[rows] for name in _BY_UNIT},
            unit=np.searchsorted(rows, self.unit[pixel]).astype(np.int64),
            embedding=self.embedding[pixel],
            pixels=self.pixels.take(pixel),
            label_codes=self.label_codes,
        )


def join(parts: Sequence[Examples]) -> Examples:
    """Return the units of all parts, one behind the other."""
    first_unit = np.cumsum([0, *(len(part) for part in parts)])
    units = [part.unit + start for part, start in zip(parts, first_unit, strict=False)]
    chips = [
        np.where(part.chip == NO_PIXEL, NO_PIXEL, part.chip + start)
        for part, start in zip(parts, first_unit, strict=False)
        if part.chip is not None
    ]
    codes = tuple(sorted({code for part in parts for code in part.label_codes}))
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in _BY_UNIT
        if name != "truth"
    }
    return Examples(
        **arrays,
        truth=np.concatenate([_aligned(part, codes) for part in parts]),
        unit=np.concatenate(units),
        embedding=np.concatenate([part.embedding for part in parts]),
        pixels=concatenate([part.pixels for part in parts]),
        chip=np.concatenate(chips) if chips else None,
        label_codes=codes,
    )


def _aligned(part: Examples, codes: tuple[int, ...]) -> Floats:
    """Return the truth of a part with a column for each of these labels; absent ones are 0."""
    if not codes:
        return part.truth
    truth = np.zeros((len(part), len(codes)))
    truth[:, np.searchsorted(codes, part.label_codes)] = part.truth
    return truth
