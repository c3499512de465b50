"""Grids and tiles in memory."""

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import SceneClass
from tessera_core.domain.tile import OpticalSeries, RadarSeries, TileSeries, empty_radar

YEAR = 2022
CLASSES = (
    SceneClass.VEGETATION,
    SceneClass.BARE,
    SceneClass.WATER,
    SceneClass.CLOUD_HIGH,
    SceneClass.CLOUD_SHADOW,
)
"""Scene classes that a made tile draws from; three are clear."""


def make_grid(
    *,
    epsg: int = 32631,
    west: float = 500_000,
    north: float = 5_600_000,
    width: int = 5,
    height: int = 4,
) -> TileGrid:
    """Return a small grid, wider than high."""
    return TileGrid(epsg=epsg, west=west, north=north, width=width, height=height)


def make_tile(
    *,
    name: str = "tile",
    year: int = YEAR,
    grid: TileGrid | None = None,
    seed: int = 0,
    num_s2: int = 9,
    num_ascending: int = 7,
    num_descending: int = 4,
) -> TileSeries:
    """Return a tile of random values; the first date is clear everywhere.

    Args:
        name: Tile name.
        year: Calendar year.
        grid: Where it lies; a small one of its own when left out.
        seed: Source of all values.
        num_s2: Sentinel-2 dates, at least 1.
        num_ascending: Sentinel-1 dates of the ascending orbit, may be 0.
        num_descending: Sentinel-1 dates of the descending orbit, may be 0.
    """
    grid = grid or make_grid()
    rng = np.random.default_rng(seed)
    cube = (num_s2, grid.height, grid.width)
    scl = rng.choice(np.array(CLASSES, np.uint8), size=cube)
    scl[0] = SceneClass.VEGETATION
    return TileSeries(
        name=name,
        year=year,
        grid=grid,
        optical=OpticalSeries(
            reflectance=rng.integers(1, 10_000, (*cube, NUM_S2)).astype(np.uint16),
            scl=scl,
            day_of_year=make_days(num_s2, rng),
        ),
        ascending=make_radar(grid, num_ascending, rng),
        descending=make_radar(grid, num_descending, rng),
        inside=np.ones((grid.height, grid.width), np.bool_),
    )


def make_radar(grid: TileGrid, num_dates: int, rng: np.random.Generator) -> RadarSeries:
    """Return one orbit; about one observation in ten is missing in both polarisations."""
    if num_dates == 0:
        return empty_radar(grid)
    shape = (num_dates, grid.height, grid.width)
    values = rng.integers(1, 12_000, (*shape, NUM_S1)).astype(np.int16)
    values[rng.random(shape) < 0.1] = 0
    return RadarSeries(backscatter_scaled_db=values, day_of_year=make_days(num_dates, rng))


def make_days(num_dates: int, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return different days of the year, ascending."""
    drawn = rng.choice(np.arange(1, 366), size=num_dates, replace=False)
    return np.sort(drawn).astype(np.uint16)
