"""From one part of a source to the units of one task: which d-pixels, with which labels.

Nothing is embedded here; what a draft asks for is embedded once for all tasks.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.examples import NO_PIXEL, Examples
from tessera_core.benchmarks.field_groups import is_at_home
from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import TileGrid, block_ids
from tessera_core.domain.scores import Kind
from tessera_core.errors import InputError
from tessera_core.records.benchmarks import REGION_OF_TILE, Benchmark

if TYPE_CHECKING:
    from tessera_core.benchmarks.config import EvaluateConfig
    from tessera_core.benchmarks.sources import Part

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK_SIZE_M: Final = 160
"""Edge of the blocks that stand in for fields where there are none."""

MAX_PIXELS_PER_PATCH: Final = 16
"""D-pixels that stand for a patch of several labels; their mean hardly changes with more."""

MAX_CHIPS_PER_PART: Final = 64
"""Chips of one part, so that a large region does not drown the others."""

NO_FIELD: Final = -1
"""Stands for a field id where there is no field."""

DEGREE_STEPS: Final = 100_000
"""Positions in degrees are told apart to about a metre."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """Units of one task in one part, before embedding."""

    rows: Ints
    """(P,), d-pixels of the part, in the order of their units."""

    unit: Ints
    """(P,), unit of each, ascending from 0."""

    first: Ints
    """(U,), the d-pixel of the part that tells where a unit is."""

    truth: Floats
    """(U,) or (U, L)."""

    group: Ints
    """(U,)."""

    field: Ints
    """(U,), field id, ``NO_FIELD`` where there is none."""

    key: Floats
    """(U,), random."""

    chip: Ints | None = None
    """(N, S, S), units in chips."""

    label_codes: tuple[int, ...] = ()
    """Codes of the L labels."""

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.first)


def draft_units(part: "Part", benchmark: Benchmark, settings: "EvaluateConfig") -> Draft:
    """Return the units that a task has in a part; none where nothing is labelled."""
    truth = read_truth(part, benchmark)
    if benchmark.kind == Kind.MULTILABEL:
        return _patches(part, benchmark, truth, settings.seed)
    if benchmark.patch_size is not None:
        return _chips(part, benchmark, truth, settings.seed)
    rows = np.flatnonzero(np.isfinite(truth))
    group, key = _read_group(part, benchmark), random_keys(part, settings.seed)
    most = benchmark.num_per_group or settings.max_pixels_per_field
    rows = rows[smallest_keys(group[rows], key[rows], most)]
    return Draft(
        rows=rows,
        unit=np.arange(len(rows)),
        first=rows,
        truth=truth[rows],
        group=group[rows],
        field=_read_field(part)[rows],
        key=key[rows],
    )


def examples_of(
    draft: Draft, part: "Part", benchmark: Benchmark, embedding: npt.NDArray[np.float32]
) -> Examples:
    """Return a draft with what is known of its units.

    Args:
        draft: U units, P d-pixels.
        part: Where they are.
        benchmark: Their task.
        embedding: (P, D).
    """
    first = draft.first
    return Examples(
        tile=np.full(len(draft), part.name),
        year=np.full(len(draft), part.year, np.int32),
        row=part.row[first],
        column=part.column_number[first],
        truth=draft.truth,
        group=draft.group,
        field=draft.field,
        region=_read_region(part, benchmark)[first],
        position=_positions(part)[first],
        given=_read_given(part, benchmark)[first],
        key=draft.key,
        unit=draft.unit,
        embedding=embedding,
        pixels=part.pixels.take(draft.rows),
        chip=draft.chip,
        label_codes=draft.label_codes,
    )


def smallest_keys(group: Ints, key: Floats, num_per_group: int) -> Ints:
    """Return the rows with the smallest keys of each group, in row order.

    With random keys this is a uniform draw from each group, and drawing from draws of parts
    equals drawing from the whole: fields may span tiles that are read one by one.
    """
    order = np.lexsort((key, group))
    ordered = group[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    position = np.arange(len(ordered))
    rank = position - np.maximum.accumulate(np.where(is_first, position, 0))
    return np.sort(order[rank < num_per_group])


def random_keys(part: "Part", seed: int) -> Floats:
    """Return a random number per d-pixel, (N,), that depends on no other part."""
    return _rng_of(part, seed).random(len(part.pixels))


def _rng_of(part: "Part", seed: int) -> np.random.Generator:
    name = hashlib.sha256(f"{part.name}/{part.year}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(name[:8], "big")])


def read_truth(part: "Part", benchmark: Benchmark) -> Floats:
    """Return truth (N,) as numbers, NaN where it is not known."""
    asked = benchmark.truth
    if asked.raster is not None:
        empty = 0.0 if benchmark.kind == Kind.CHANGE else np.nan
        truth = part.raster(asked.raster, empty).copy()
    else:
        truth = _numbers(part.column(str(asked.column)), str(asked.column), part, benchmark).copy()
    if count := int(np.isinf(truth).sum()):
        raise InputError(
            f"benchmark {benchmark.name}: {count} of {len(truth)} labels of {part.name} are "
            "infinite; write NaN, or no data, where nothing is known"
        )
    if benchmark.kind == Kind.REGRESSION:
        return truth if asked.maximum is None else np.minimum(truth, asked.maximum)
    if benchmark.kind == Kind.CHANGE:
        return np.where(np.isnan(truth), np.nan, truth > float(asked.above or 0))
    truth[np.isin(truth, asked.ignore)] = np.nan
    known = truth[np.isfinite(truth)]
    if (known != np.round(known)).any():
        odd = known[known != np.round(known)][0]
        raise InputError(
            f"benchmark {benchmark.name}: {part.name} has the class code {odd:g}, expected whole "
            "numbers; is this a regression?"
        )
    return truth


def _numbers(values: Any, name: str, part: "Part", benchmark: Benchmark) -> Floats:
    """Return a column as numbers, (N,); refuses what is none."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"benchmark {benchmark.name}: column {name} of {part.name} holds no numbers ({error}); "
            "give classes codes and name them in legend.json"
        ) from error


def _read_group(part: "Part", benchmark: Benchmark) -> Ints:
    group = benchmark.group
    if group.column is not None:
        names = np.asarray(part.column(group.column))
        if names.dtype.kind in "iu":
            return names.astype(np.int64)
        missing = sum(value is None or value != value for value in names.tolist())
        if missing:
            raise InputError(
                f"benchmark {benchmark.name}: {missing} of {len(names)} rows of {part.name} say no "
                f"{group.column}, so nobody knows which of them belong together; leave them out"
            )
        _, number = np.unique(names.astype(str), return_inverse=True)
        return number.astype(np.int64)
    if group.tile:
        name = hashlib.sha256(part.name.encode()).digest()
        return np.full(len(part.pixels), int.from_bytes(name[:7], "big"), np.int64)
    if group.block_size_m is not None:
        return block_ids(part.epsg, part.x, part.y, group.block_size_m)
    ids = np.nan_to_num(part.raster(str(group.raster))).astype(np.int64)
    # Negative: a block is never taken for a field of the same number.
    return np.where(ids > 0, ids, -1 - block_ids(part.epsg, part.x, part.y, BLOCK_SIZE_M))


def _read_field(part: "Part") -> Ints:
    return np.where(part.parcel > 0, part.parcel, NO_FIELD)


def _read_region(part: "Part", benchmark: Benchmark) -> npt.NDArray[np.str_]:
    if benchmark.region is None:
        return np.full(len(part.pixels), "")
    if benchmark.region == REGION_OF_TILE:
        return np.full(len(part.pixels), part.name)
    return part.words(benchmark.region)


def _read_given(part: "Part", benchmark: Benchmark) -> npt.NDArray[np.str_]:
    column = benchmark.split.column
    if column is None:
        return np.full(len(part.pixels), "")
    return part.words(column)


def _positions(part: "Part") -> Ints:
    if part.grid is not None:
        return block_ids(part.epsg, part.x, part.y, TILE_RESOLUTION_M)
    east = np.round(part.x * DEGREE_STEPS).astype(np.int64)
    north = np.round(part.y * DEGREE_STEPS).astype(np.int64)
    return east * (360 * DEGREE_STEPS) + north


def _patch_numbers(part: "Part", size: int) -> Ints:
    """Return the number of the patch that each d-pixel lies in, counted within the part."""
    if part.grid is None:
        raise InputError(f"{part.name} is a table, and a table has no patches")
    row, column = part.row.astype(np.int64), part.column_number.astype(np.int64)
    return _patch_at(part.grid, row, column, size)


def _patch_at(grid: TileGrid, row: Ints, column: Ints, size: int) -> Ints:
    across = -(-grid.width // size)
    return (row // size) * across + column // size


def _patches(part: "Part", benchmark: Benchmark, truth: Floats, seed: int) -> Draft:
    """Return one unit per patch: which classes fill at least a share of it.

    A field counts in its home group alone, and is unlabelled in the patches of others.
    """
    size = int(benchmark.patch_size or 1)
    # Labelled or not, the first d-pixel of a patch says where it is: the same one in every year.
    numbers, first, of_pixel = np.unique(
        _patch_numbers(part, size), return_index=True, return_inverse=True
    )
    group = _read_group(part, benchmark)[first]
    rows = np.flatnonzero(np.isfinite(truth))
    if part.grid is not None:
        home, row, column = part.homes().within(part.grid)
        number = _patch_at(part.grid, row, column, size)
        place = np.minimum(np.searchsorted(numbers, number), len(numbers) - 1)
        has_patch = numbers[place] == number
        rows = rows[
            is_at_home(
                part.parcel[rows], group[of_pixel[rows]], home[has_patch], group[place[has_patch]]
            )
        ]
    patches, patch = np.unique(of_pixel[rows], return_inverse=True)
    first, group = first[patches], group[patches]
    codes, code = np.unique(truth[rows].astype(np.int64), return_inverse=True)
    counts = np.zeros((len(patches), len(codes)))
    np.add.at(counts, (patch, code), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    key = random_keys(part, seed)[rows]
    chosen = smallest_keys(patch.astype(np.int64), key, MAX_PIXELS_PER_PATCH)
    chosen = chosen[np.argsort(patch[chosen], kind="stable")]
    return Draft(
        rows=rows[chosen],
        unit=patch[chosen].astype(np.int64),
        first=first,
        truth=(share >= benchmark.min_share).astype(np.float64),
        group=group,
        field=np.full(len(patches), NO_FIELD, np.int64),
        key=random_keys(part, seed)[first],
        label_codes=tuple(int(each) for each in codes),
    )


def _chips(part: "Part", benchmark: Benchmark, truth: Floats, seed: int) -> Draft:
    """Return whole chips: all of their d-pixels are units, labelled or not."""
    size = int(benchmark.patch_size or 1)
    number = _patch_numbers(part, size)
    labelled = np.unique(number[np.isfinite(truth)])
    rng = _rng_of(part, seed)
    drawn = rng.permutation(labelled)[:MAX_CHIPS_PER_PART]
    kept = np.sort(drawn[rng.random(len(drawn)) < benchmark.share_of_patches])
    rows = np.flatnonzero(np.isin(number, kept))
    rows = rows[np.argsort(number[rows], kind="stable")]
    place = np.searchsorted(kept, number[rows])
    chip = np.full((len(kept), size, size), NO_PIXEL, np.int64)
    chip[place, part.row[rows] % size, part.column_number[rows] % size] = np.arange(len(rows))
    group = _read_group(part, benchmark)[rows]
    # A chip is whole: its first d-pixel says for all of them which group it is.
    starts = np.searchsorted(place, np.arange(len(kept)))
    return Draft(
        rows=rows,
        unit=np.arange(len(rows)),
        first=rows,
        truth=truth[rows],
        group=group[starts][place] if len(kept) else group,
        field=_read_field(part)[rows],
        key=random_keys(part, seed)[rows],
        chip=chip,
    )
