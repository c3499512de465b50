"""The tiles of one UTM zone on one grid, as the Zarr store holds them.

Southern tiles share the group of their zone: northern EPSG code, negative northings
(interop.md 3).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import FIRST_UTM_NORTH, FIRST_UTM_SOUTH, TileGrid
from tessera_core.export.tiles import (
    NORTHING_OFFSET_M,
    ExportedTile,
    open_array,
    tile_files,
    transform_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedTile:
    """A tile and where it starts in its zone's grid."""

    tile: ExportedTile
    """The tile."""

    row: int
    """Zone row of the tile's row 0."""

    column: int
    """Zone column of the tile's column 0."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the zone that the tile covers."""
        grid = self.tile.grid
        return (
            slice(self.row, self.row + grid.height),
            slice(self.column, self.column + grid.width),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """The smallest 10 m grid that holds all tiles of a UTM zone."""

    number: int
    """UTM zone, 1..60."""

    west: float
    """Easting of the outer edge of column 0, metres."""

    north: float
    """Northing of the outer edge of row 0, metres north of the equator; may be negative."""

    width: int
    """Columns."""

    height: int
    """Rows."""

    tiles: tuple[PlacedTile, ...]
    """All tiles of all years, in order of name and year."""

    @property
    def group(self) -> str:
        """Name of the zone's group in the store."""
        return f"utm{self.number:02d}"

    @property
    def epsg(self) -> int:
        """The zone's northern EPSG code, for both hemispheres."""
        return FIRST_UTM_NORTH - 1 + self.number

    @property
    def transform(self) -> list[float]:
        """Six affine numbers of the grid."""
        return transform_of(self.west, self.north)

    @property
    def bounds(self) -> list[float]:
        """West, south, east, north in metres."""
        size = TILE_RESOLUTION_M
        south, east = self.north - self.height * size, self.west + self.width * size
        return [self.west, south, east, self.north]

    def centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return eastings (width,) and northings (height,) of the pixel centres, metres."""
        half = TILE_RESOLUTION_M / 2
        x = self.west + half + TILE_RESOLUTION_M * np.arange(self.width, dtype=np.float64)
        y = self.north - half - TILE_RESOLUTION_M * np.arange(self.height, dtype=np.float64)
        return x, y

    def of_year(self, year: int) -> list[PlacedTile]:
        """Return the zone's tiles of one year, in order."""
        return [placed for placed in self.tiles if placed.tile.year == year]


def zones_of(tiles: Iterable[ExportedTile]) -> tuple[Zone, ...]:
    """Return one grid per UTM zone.

    Tiles that share their offset from the 10 m lattice keep it, so nothing moves. Where offsets
    differ within a zone, each tile snaps to the nearest multiple of 10 m, by 5 m at most, as
    upstream's stores do (interop.md 3).
    """
    by_zone: dict[int, list[ExportedTile]] = {}
    for tile in sorted(tiles, key=lambda tile: (tile.name, tile.year)):
        by_zone.setdefault(tile.grid.utm_zone, []).append(tile)
    return tuple(_zone(number, by_zone[number]) for number in sorted(by_zone))


def owned_pixels(export: Path, tiles: Sequence[PlacedTile], index: int) -> npt.NDArray[np.bool_]:
    """Return which pixels (row, column) of a tile the store takes from it.

    Where tiles of one year overlap, the first in order that has data keeps the pixel.

    Args:
        export: Folder of the export.
        tiles: The zone's tiles of one year, in order.
        index: Which of them.
    """
    placed = tiles[index]
    owned = np.isfinite(_scales(export, placed))
    for earlier in tiles[:index]:
        shared = _overlap(placed, earlier)
        if shared is not None:
            mine, theirs = shared
            owned[mine] &= ~np.isfinite(_scales(export, earlier)[theirs])
    return owned


def _zone(number: int, tiles: Sequence[ExportedTile]) -> Zone:
    corners = [_northern_corner(tile.grid) for tile in tiles]
    size = TILE_RESOLUTION_M
    if len({(round(west % size, 3), round(north % size, 3)) for west, north in corners}) > 1:
        corners = [(_snap(west), _snap(north)) for west, north in corners]
    west, north = min(west for west, _ in corners), max(north for _, north in corners)
    placed = tuple(
        PlacedTile(
            tile=tile,
            row=round((north - corner[1]) / size),
            column=round((corner[0] - west) / size),
        )
        for tile, corner in zip(tiles, corners, strict=True)
    )
    return Zone(
        number=number,
        west=west,
        north=north,
        width=max(part.column + part.tile.grid.width for part in placed),
        height=max(part.row + part.tile.grid.height for part in placed),
        tiles=placed,
    )


def _northern_corner(grid: TileGrid) -> tuple[float, float]:
    """Return west and north edge in the zone's northern CRS."""
    is_south = grid.epsg >= FIRST_UTM_SOUTH
    return float(grid.west), float(grid.north - NORTHING_OFFSET_M * is_south)


def _snap(coordinate: float) -> float:
    return float(np.floor(coordinate / TILE_RESOLUTION_M + 0.5) * TILE_RESOLUTION_M)


def _scales(export: Path, placed: PlacedTile) -> npt.NDArray[np.float32]:
    return open_array(tile_files(export, placed.tile.name, placed.tile.year).scales)


def _overlap(
    first: PlacedTile, second: PlacedTile
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the shared window in each tile's own indices, or None."""
    own: list[list[slice]] = [[], []]
    corners = ((first.row, second.row), (first.column, second.column))
    for (start, other), mine, theirs in zip(corners, first.window, second.window, strict=True):
        low, high = max(mine.start, theirs.start), min(mine.stop, theirs.stop)
        if low >= high:
            return None
        own[0].append(slice(low - start, high - start))
        own[1].append(slice(low - other, high - other))
    return (own[0][0], own[0][1]), (own[1][0], own[1][1])
