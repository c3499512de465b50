"""Cut an area into tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import FIRST_UTM_NORTH, FIRST_UTM_SOUTH, TileGrid
from tessera_core.errors import SceneError

if TYPE_CHECKING:
    from tessera_core.ingest.catalogue import StacItem

Bounds = tuple[float, float, float, float]
DEGREES_PER_ZONE = 6


def cut_tiles(items: Iterable[StacItem], bbox: Bounds | None, tile_size: int) -> list[TileGrid]:
    """Return the tiles that cover an area, row by row from the north-west.

    Args:
        items: What there is; gives the area in each UTM zone.
        bbox: West, south, east, north in degrees, or None for all that the items cover.
        tile_size: Edge of a tile in pixels; the last row and column may be smaller.
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
    """Return tiles from the area's north-west corner on, snapped outwards to whole pixels."""
    pixel = TILE_RESOLUTION_M
    west, north = math.floor(area[0] / pixel) * pixel, math.ceil(area[3] / pixel) * pixel
    width = math.ceil((area[2] - west) / pixel)
    height = math.ceil((north - area[1]) / pixel)
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
