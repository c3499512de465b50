"""First tier: one pass over every observation of a tile, a few numbers kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tessera_core.domain.bands import NUM_S1, NUM_S2, S1_NAMES, S2_NAMES, TILE_RESOLUTION_M
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import KNOWN_CODES
from tessera_core.errors import RecordError
from tessera_core.quality.measures import (
    Distribution,
    days_in_year,
    distribution,
    is_in_time_order,
    longest_gap,
    longest_gaps,
    masked_median,
    num_valid_by_month,
    num_with_twin,
)
from tessera_core.records.samples import SAMPLES_NAME, pixels_of, read_scenes, read_table
from tessera_core.records.schema import POSITION_FIELDS, SAMPLES, metadata_of

S2_SENSOR: Final = "s2"
POSITION_NAMES: Final = [field.name for field in POSITION_FIELDS]
SENSORS: Final = (S2_SENSOR, "s1_ascending", "s1_descending")

POSITION_TOLERANCE_M: Final = 0.01
"""Pixel centres agree when they are this close: eastings are sums of floats."""

_RED, _NIR = S2_NAMES.index("B04"), S2_NAMES.index("B08")


@dataclass(frozen=True, slots=True, kw_only=True)
class TileStatistics:
    """What is known of one tile and year; one row of the tile table."""

    tile: str
    """Tile name."""

    year: int
    """Calendar year."""

    num_pixels: int
    """d-pixels."""

    num_s2_dates: int
    """Distinct days with a Sentinel-2 observation, clear or not."""

    num_ascending_dates: int
    """Distinct days with a Sentinel-1 ascending observation; 0 where that orbit is missing."""

    num_descending_dates: int
    """Distinct days with a Sentinel-1 descending observation; 0 where that orbit is missing."""

    min_clear: int
    """Fewest clear S2 observations of any d-pixel; 0 without d-pixels."""

    median_clear: float
    """Median number of clear S2 observations per d-pixel; 0 without d-pixels."""

    share_without_clear: float
    """Share of d-pixels without any clear observation, 0..1."""

    longest_gap_days: int
    """Longest run of days on which no d-pixel is clear, year's edges included, 0..366."""

    longest_gap_start: int
    """Day of year on which that run begins, 1..367; 367 or 366 when it is empty."""

    median_pixel_gap_days: float
    """Median over d-pixels of their own longest run without a clear observation."""

    share_duplicate: float
    """Share of d-pixels whose whole S2 series another d-pixel has too, 0..1.

    d-pixels without a clear observation are not counted: they are equal because empty.
    """

    share_no_data: float
    """Share of S2 observations with 0 in all bands, 0..1; swath edges cause many."""

    share_present_ascending: float | None
    """Share of ascending observations that have a value, 0..1; None without any date."""

    share_present_descending: float | None
    """Share of descending observations that have a value, 0..1; None without any date."""

    num_unknown_scl: int
    """S2 observations whose scene class is none of ``SceneClass``."""

    first_day: int | None
    """Earliest day of year of any sensor; None without observations."""

    last_day: int | None
    """Latest day of year of any sensor; None without observations."""

    num_days_outside_year: int
    """Observations on a day that the year does not have, as day 366 of 2018."""

    num_repeated_positions: int
    """d-pixels whose row and column another one has already."""

    num_scene_files: int
    """Rows of the scenes table: source files of acquisitions."""

    num_files_without_digest: int
    """Rows of the scenes table with neither sha256 nor ETag."""

    num_scenes_outside_year: int
    """Rows of the scenes table that name a date in another year."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelSample:
    """A few d-pixels of a tile, n in all, looked at one by one; the row table."""

    row: npt.NDArray[np.int32]
    """(n,), pixel row in the tile."""

    column: npt.NDArray[np.int32]
    """(n,), pixel column in the tile."""

    num_s2: npt.NDArray[np.int64]
    """(n,), S2 observations, clear or not."""

    num_clear: npt.NDArray[np.int64]
    """(n,), clear S2 observations."""

    num_s1: npt.NDArray[np.int64]
    """(n,), present S1 observations of both orbits."""

    longest_gap_days: npt.NDArray[np.int64]
    """(n,), longest run of days without a clear observation."""

    ndvi_max: npt.NDArray[np.float64]
    """(n,), greatest NDVI over clear observations, -1..1; NaN without any."""

    brightness: npt.NDArray[np.float64]
    """(n,), median over clear observations of the mean over bands, reflectance x 10000;
    NaN without any."""

    is_on_grid: npt.NDArray[np.bool_]
    """(n,), row and column lie in the tile and x, y is the centre of that pixel."""

    is_in_order: npt.NDArray[np.bool_]
    """(n,), the days of no series run backwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileMeasures:
    """All that the pass over one tile leaves behind."""

    tile: TileStatistics
    """Numbers of the tile as a whole."""

    bands: Mapping[tuple[str, str], Distribution]
    """(sensor, band) to the values over clear (S2) or present (S1) observations."""

    sample: PixelSample
    """Seeded sample of d-pixels."""

    clear_by_month: tuple[float, ...]
    """(12,), mean number of clear S2 observations per d-pixel in each month."""


def measure_tile(folder: Path, num_sample_rows: int, seed: int) -> TileMeasures:
    """Measure one partition folder of the samples.

    Args:
        folder: Holds ``samples.parquet`` and ``scenes.parquet``.
        num_sample_rows: d-pixels to look at one by one; all of them in a smaller tile.
        seed: Chooses them, together with the tile's name and year.

    Raises:
        RecordError: A file is unreadable, of another schema, or its lists do not fit together.
    """
    path = folder / SAMPLES_NAME
    table = read_table(path, SAMPLES)
    metadata = metadata_of(table.schema, path)
    _require_equal_counts(table, path)
    name, year, grid = metadata["tile"], metadata["year"], TileGrid(**metadata["grid"])
    pixels = pixels_of(table)
    rng = np.random.default_rng([seed, year, *name.encode()])
    num_sampled = min(num_sample_rows, len(pixels))
    chosen = np.sort(rng.choice(len(pixels), size=num_sampled, replace=False))
    positions = table.select(POSITION_NAMES).take(chosen)
    per_month = num_valid_by_month(pixels.optical, year) / max(1, len(pixels))
    return TileMeasures(
        tile=_tile_statistics(name, year, grid, table, pixels, read_scenes(folder)),
        bands=_band_statistics(pixels),
        sample=_sample_pixels(grid, positions, pixels.take(chosen), days_in_year(year)),
        clear_by_month=tuple(round(float(count), 3) for count in per_month),
    )


def _require_equal_counts(table: pa.Table, path: Path) -> None:
    """Refuse d-pixels whose lists do not describe the same observations."""
    expected = {
        "s2_reflectance": ("s2_day_of_year", NUM_S2),
        "s2_scl": ("s2_day_of_year", 1),
        "s1_ascending": ("s1_ascending_day_of_year", NUM_S1),
        "s1_descending": ("s1_descending_day_of_year", NUM_S1),
    }
    for values, (days, num_bands) in expected.items():
        num_values = pc.fill_null(pc.list_value_length(table[values]), -1).to_numpy()
        num_days = pc.fill_null(pc.list_value_length(table[days]), -1).to_numpy()
        # A null list counts as -1 and never fits.
        wrong = np.flatnonzero((num_values != num_days * num_bands) | (num_values < 0))
        if len(wrong):
            first = int(wrong[0])
            raise RecordError(
                f"{path}, row {first}: {values} holds {num_values[first]} values for "
                f"{num_days[first]} days, expected {num_bands} per day ({len(wrong)} of "
                f"{len(table)} d-pixels differ); ingest again"
            )


def _tile_statistics(
    name: str,
    year: int,
    grid: TileGrid,
    table: pa.Table,
    pixels: DPixels,
    scenes: list[dict[str, Any]],
) -> TileStatistics:
    optical, num_days = pixels.optical, days_in_year(year)
    num_clear = optical.num_valid()
    gap, gap_start = longest_gap(optical.day_of_year[optical.valid], num_days)
    days = np.concatenate(
        [part.day_of_year for part in (optical, pixels.ascending, pixels.descending)]
    )
    position = table["row"].to_numpy().astype(np.int64) * grid.width + table["column"].to_numpy()
    return TileStatistics(
        tile=name,
        year=year,
        num_pixels=len(pixels),
        num_s2_dates=_num_dates(optical),
        num_ascending_dates=_num_dates(pixels.ascending),
        num_descending_dates=_num_dates(pixels.descending),
        min_clear=int(num_clear.min(initial=len(optical.valid))),
        median_clear=_median(num_clear),
        share_without_clear=_share(num_clear == 0) or 0.0,
        longest_gap_days=gap,
        longest_gap_start=gap_start,
        median_pixel_gap_days=_median(longest_gaps(optical, num_days)),
        share_duplicate=num_with_twin(optical) / max(1, len(pixels)),
        share_no_data=_share((optical.values == 0).all(axis=1)) or 0.0,
        share_present_ascending=_share(pixels.ascending.valid),
        share_present_descending=_share(pixels.descending.valid),
        num_unknown_scl=_num_unknown_scl(table),
        first_day=int(days.min()) if len(days) else None,
        last_day=int(days.max()) if len(days) else None,
        num_days_outside_year=int(((days < 1) | (days > num_days)).sum()),
        num_repeated_positions=len(position) - len(np.unique(position)),
        num_scene_files=len(scenes),
        num_files_without_digest=sum(not scene["sha256"] for scene in scenes),
        num_scenes_outside_year=sum(
            bool(scene["acquired"]) and not scene["acquired"].startswith(f"{year}-")
            for scene in scenes
        ),
    )


def _num_dates(series: Series) -> int:
    return len(np.unique(series.day_of_year))


def _num_unknown_scl(table: pa.Table) -> int:
    scl = pc.list_flatten(table["s2_scl"]).to_numpy()
    counts = np.bincount(scl, minlength=np.iinfo(np.uint8).max + 1)
    return int(counts.sum() - counts[list(KNOWN_CODES)].sum())


def _median(values: npt.NDArray[np.integer[Any]]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _share(flags: npt.NDArray[np.bool_]) -> float | None:
    """Return the share of True, 0..1; None of nothing."""
    return float(flags.mean()) if len(flags) else None


def _band_statistics(pixels: DPixels) -> dict[tuple[str, str], Distribution]:
    series = (pixels.optical, pixels.ascending, pixels.descending)
    return {
        (sensor, band): distribution(part.values[:, position][part.valid])
        for sensor, part in zip(SENSORS, series, strict=True)
        for position, band in enumerate(S2_NAMES if sensor == S2_SENSOR else S1_NAMES)
    }


def _sample_pixels(
    grid: TileGrid, positions: pa.Table, pixels: DPixels, num_days: int
) -> PixelSample:
    """Look at some d-pixels one by one; ``positions`` and ``pixels`` hold just these."""
    optical = pixels.optical
    row, column = positions["row"].to_numpy(), positions["column"].to_numpy()
    x, y = positions["x"].to_numpy(), positions["y"].to_numpy()
    offset_m = np.maximum(
        np.abs(x - grid.west - (column + 0.5) * TILE_RESOLUTION_M),
        np.abs(grid.north - y - (row + 0.5) * TILE_RESOLUTION_M),
    )
    inside = (row >= 0) & (row < grid.height) & (column >= 0) & (column < grid.width)
    index_BT, _, valid_BT = optical.padded(np.arange(len(optical)))
    ndvi_M, brightness_M = _ndvi(optical), optical.values.mean(axis=1)
    ndvi_BT = np.where(valid_BT, ndvi_M[index_BT] if len(ndvi_M) else -np.inf, -np.inf)
    ndvi_max = ndvi_BT.max(axis=1, initial=-np.inf)
    series = (optical, pixels.ascending, pixels.descending)
    return PixelSample(
        row=row,
        column=column,
        num_s2=np.diff(optical.offsets),
        num_clear=optical.num_valid(),
        num_s1=pixels.ascending.num_valid() + pixels.descending.num_valid(),
        longest_gap_days=longest_gaps(optical, num_days),
        ndvi_max=np.where(np.isfinite(ndvi_max), ndvi_max, np.nan),
        brightness=masked_median(
            brightness_M[index_BT] if len(brightness_M) else np.zeros(index_BT.shape), valid_BT
        ),
        is_on_grid=inside & (offset_m < POSITION_TOLERANCE_M),
        is_in_order=np.logical_and.reduce([is_in_time_order(part) for part in series]),
    )


def _ndvi(optical: Series) -> npt.NDArray[np.float64]:
    """Return (nir - red) / (nir + red) of each observation (M,); 0 where both are 0."""
    red, nir = (optical.values[:, band].astype(np.float64) for band in (_RED, _NIR))
    return (nir - red) / np.maximum(nir + red, 1)
