"""One tile-year of observations in memory: the noun that every scene source produces."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, optical_series, radar_series
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import KNOWN_CODES, clear_mask
from tessera_core.errors import SceneError

MIN_DAY, MAX_DAY = 1, 366


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpticalSeries:
    """Sentinel-2 observations of all d-pixels of a tile, oldest first."""

    reflectance: npt.NDArray[np.uint16]
    """(time, row, column, band), reflectance x 10000, offset removed, 0 = no data."""

    scl: npt.NDArray[np.uint8]
    """(time, row, column), scene classes as in ``SceneClass``."""

    day_of_year: npt.NDArray[np.uint16]
    """(time,), 1..366, UTC, ascending."""

    def __post_init__(self) -> None:
        """Check shapes, types, days and scene classes."""
        time, height, width = _checked_cube("S2 reflectance", self.reflectance, np.uint16, NUM_S2)
        _check_days("S2", self.day_of_year, time)
        if self.scl.dtype != np.uint8 or self.scl.shape != (time, height, width):
            raise SceneError(
                f"scl has shape {self.scl.shape} and type {self.scl.dtype}, "
                f"but S2 reflectance needs {(time, height, width)} of uint8"
            )
        unknown = sorted(set(np.unique(self.scl).tolist()) - set(KNOWN_CODES))
        if unknown:
            raise SceneError(
                f"scl holds codes {unknown}; expected 0..11 (Sentinel-2 scene classes): "
                "is this another mask product?"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RadarSeries:
    """Sentinel-1 observations of one orbit direction, oldest first; may be empty."""

    backscatter_scaled_db: npt.NDArray[np.int16]
    """(time, row, column, VV VH), ``(20 log10(power) + 50) * 200``, 0 = missing."""

    day_of_year: npt.NDArray[np.uint16]
    """(time,), 1..366, UTC, ascending."""

    def __post_init__(self) -> None:
        """Check shapes, types, days and sign."""
        time, _, _ = _checked_cube("S1 backscatter", self.backscatter_scaled_db, np.int16, NUM_S1)
        _check_days("S1", self.day_of_year, time)
        if time and int(self.backscatter_scaled_db.min()) < 0:
            raise SceneError(
                f"S1 backscatter goes down to {int(self.backscatter_scaled_db.min())}, expected "
                "scaled dB of 0..32767; was plain dB or linear power stored?"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileSeries:
    """All observations of one tile in one calendar year."""

    name: str
    """Unique within a sample set; letters, digits, ``_ . -``."""

    year: int
    """Calendar year of the window."""

    grid: TileGrid
    """Where the pixels lie."""

    optical: OpticalSeries
    """Sentinel-2."""

    ascending: RadarSeries
    """Sentinel-1, ascending passes; may be empty."""

    descending: RadarSeries
    """Sentinel-1, descending passes; may be empty."""

    inside: npt.NDArray[np.bool_]
    """(row, column), True inside the region of interest."""

    def __post_init__(self) -> None:
        """Check that all parts share the grid and that there is something to learn from."""
        expected = (self.grid.height, self.grid.width)
        parts = {
            "S2 reflectance": self.optical.reflectance.shape[1:3],
            "S1 ascending": self.ascending.backscatter_scaled_db.shape[1:3],
            "S1 descending": self.descending.backscatter_scaled_db.shape[1:3],
            "region of interest": self.inside.shape,
        }
        for part, shape in parts.items():
            if shape != expected:
                raise SceneError(
                    f"tile {self.name}: {part} covers {shape} (rows, columns), "
                    f"but the grid is {expected}"
                )
        if not clear_mask(self.optical.scl)[:, self.inside].any():
            raise SceneError(
                f"tile {self.name}, {self.year}: none of {len(self.optical.day_of_year)} "
                "Sentinel-2 dates is clear anywhere; expected at least one clear observation. "
                "Check the mask, the window, or drop the tile"
            )


def take_pixels(
    optical: OpticalSeries,
    ascending: RadarSeries,
    descending: RadarSeries,
    rows: npt.NDArray[np.integer[Any]],
    columns: npt.NDArray[np.integer[Any]],
) -> DPixels:
    """Return some d-pixels of a tile, (N,) rows and columns, with all their observations."""
    return DPixels(
        optical=optical_series(
            _by_pixel(optical.reflectance, rows, columns),
            _by_pixel(optical.scl[..., None], rows, columns)[:, 0],
            *_shared_days(optical.day_of_year, len(rows)),
        ),
        ascending=radar_series(
            _by_pixel(ascending.backscatter_scaled_db, rows, columns),
            *_shared_days(ascending.day_of_year, len(rows)),
        ),
        descending=radar_series(
            _by_pixel(descending.backscatter_scaled_db, rows, columns),
            *_shared_days(descending.day_of_year, len(rows)),
        ),
    )


def _by_pixel(
    cube: npt.NDArray[Any],
    rows: npt.NDArray[np.integer[Any]],
    columns: npt.NDArray[np.integer[Any]],
) -> npt.NDArray[Any]:
    """Return (time, row, column, band) as (N x time, band), pixel after pixel."""
    taken = np.ascontiguousarray(cube[:, rows, columns].transpose(1, 0, 2))
    return taken.reshape(-1, cube.shape[-1])


def _shared_days(
    days: npt.NDArray[np.uint16], num_pixels: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """Return the tile's days once for each d-pixel, and their offsets."""
    return np.tile(days, num_pixels), np.arange(num_pixels + 1, dtype=np.int64) * len(days)


def empty_radar(grid: TileGrid) -> RadarSeries:
    """Return a series of length 0, for a tile that an orbit never saw."""
    return RadarSeries(
        backscatter_scaled_db=np.zeros((0, grid.height, grid.width, NUM_S1), np.int16),
        day_of_year=np.zeros(0, np.uint16),
    )


def _checked_cube(
    what: str, cube: npt.NDArray[np.generic], dtype: type[np.generic], num_bands: int
) -> tuple[int, int, int]:
    """Return (time, rows, columns) of a cube after checking type and band axis."""
    if cube.dtype != dtype:
        raise SceneError(
            f"{what} is {cube.dtype}, expected {np.dtype(dtype)}; convert before ingest"
        )
    if cube.ndim != 4 or cube.shape[-1] != num_bands:
        raise SceneError(
            f"{what} has shape {cube.shape}, expected (time, row, column, {num_bands}); "
            "is the array stored band-first?"
        )
    time, height, width, _ = cube.shape
    return time, height, width


def _check_days(sensor: str, day_of_year: npt.NDArray[np.uint16], num_dates: int) -> None:
    """Refuse days that do not match the dates, leave the year or run backwards."""
    if day_of_year.shape != (num_dates,):
        raise SceneError(
            f"{sensor} day_of_year has shape {day_of_year.shape}, but {num_dates} dates "
            f"need ({num_dates},)"
        )
    if num_dates == 0:
        return
    first, last = int(day_of_year.min()), int(day_of_year.max())
    if first < MIN_DAY or last > MAX_DAY:
        raise SceneError(
            f"{sensor} day_of_year spans {first}..{last}, expected {MIN_DAY}..{MAX_DAY} "
            "(1 = 1 January, not 0)"
        )
    if (np.diff(day_of_year.astype(np.int32)) < 0).any():
        raise SceneError(f"{sensor} dates are not in time order; sort them before ingest")
