"""Cut an area into tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import FIRST_UTM_NORTH, FIRST_UTM_SOUTH, MAX_COORDINATE_M, TileGrid
from tessera_core.errors import SceneError

if TYPE_CHECKING:
    from tessera_core.ingest.items import StacItem

Bounds = tuple[float, float, float, float]
DEGREES_PER_ZONE = 6
MAX_DEGREES = 12
"""Longitudes of one ingest.bbox, all of which are cut in the UTM zone of its centre."""

MAX_TILES = 1_000_000
"""Of one run: at 64 x 64 pixels 40 Sentinel-2 granules."""


def cut_tiles(items: Iterable[StacItem], bbox: Bounds | None, tile_size: int) -> list[TileGrid]:
    """Return the tiles that cover an area, row by row from the north-west.

    Args:
        items: What there is; gives the area in each UTM zone.
        bbox: West, south, east, north in degrees, or None for all that the items cover.
        tile_size: Edge of a tile in pixels; the last row and column may be smaller.

    Raises:
        SceneError: The area is unknown, too wide, no place in its zone, or too many tiles.
    """
    footprints: dict[int, list[Bounds]] = {}
    for item in items:
        if item.epsg is None or item.bounds is None:
            if bbox is None:
                raise SceneError(
                    f"item {item.scene_id} does not say proj:code and proj:bbox, so the area is "
                    "unknown; set ingest.bbox"
                )
            continue
        footprints.setdefault(item.epsg, []).append(item.bounds)
    if bbox is not None:
        if bbox[2] - bbox[0] > MAX_DEGREES:
            raise SceneError(
                f"ingest.bbox is {bbox[2] - bbox[0]:g} degrees wide, expected at most "
                f"{MAX_DEGREES}, for its tiles lie in one UTM zone; run its parts one by one"
            )
        epsg = utm_epsg((bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2)
        return _lattice(epsg, _project(bbox, epsg), tile_size)
    grids = []
    for epsg in sorted(footprints):
        west, south, east, north = zip(*footprints[epsg], strict=True)
        area = (min(west), min(south), max(east), max(north))
        grids += _lattice(epsg, area, tile_size)
    return grids


def check_pixel_size(path: Path, width: float, height: float) -> None:
    """Refuse a raster whose pixels are not those of a north-up tile; sizes in metres."""
    if (width, height) != (TILE_RESOLUTION_M, -TILE_RESOLUTION_M):
        raise SceneError(
            f"{path} has pixels of {width} x {height} m, expected "
            f"{TILE_RESOLUTION_M} x -{TILE_RESOLUTION_M} m"
        )


def utm_epsg(longitude: float, latitude: float) -> int:
    """Return the EPSG code of the UTM zone at a position in degrees."""
    zone = min(int((longitude + 180) // DEGREES_PER_ZONE), 59)
    return (FIRST_UTM_NORTH if latitude >= 0 else FIRST_UTM_SOUTH) + zone


def _project(bbox: Bounds, epsg: int) -> Bounds:
    from rasterio.warp import transform_bounds

    west, south, east, north = transform_bounds("EPSG:4326", f"EPSG:{epsg}", *bbox)
    return west, south, east, north


def _lattice(epsg: int, area: Bounds, tile_size: int) -> list[TileGrid]:
    """Return tiles from the area's north-west corner on, snapped outwards to whole pixels.

    Raises:
        SceneError: The area is no place in its zone, or makes more tiles than any run can read.
    """
    pixel = TILE_RESOLUTION_M
    if not all(abs(edge) <= MAX_COORDINATE_M for edge in area):
        raise SceneError(
            f"the area {list(area)} does not lie in EPSG:{epsg}; expected metres of at most "
            f"{MAX_COORDINATE_M}; set a smaller ingest.bbox"
        )
    west, north = math.floor(area[0] / pixel) * pixel, math.ceil(area[3] / pixel) * pixel
    width = math.ceil((area[2] - west) / pixel)
    height = math.ceil((north - area[1]) / pixel)
    num_tiles = math.ceil(width / tile_size) * math.ceil(height / tile_size)
    if num_tiles > MAX_TILES:
        raise SceneError(
            f"the area of {width * pixel / 1000:,.0f} x {height * pixel / 1000:,.0f} km makes "
            f"{num_tiles:,} tiles, expected at most {MAX_TILES:,}; set a smaller ingest.bbox or a "
            "larger ingest.tile_size"
        )
    return [
        TileGrid(
            epsg=epsg,
            west=float(west + column * pixel),
            north=float(north - row * pixel),
            width=min(tile_size, width - column),
            height=min(tile_size, height - row),
        )
        for row in range(0, height, tile_size)
        for column in range(0, width, tile_size)
    ]
