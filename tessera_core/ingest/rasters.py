"""Windowed raster reads onto a tile's grid."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import TileGrid
from tessera_core.errors import SceneError
from tessera_core.ingest.remote import open_remote, unsigned
from tessera_core.ingest.tiling import check_pixel_size
from tessera_core.records.rasters import open_raster, read_whole


def read_onto_grid(
    href: str, grid: TileGrid, *, resampling: str, nodata: float, api: str | None = None
) -> npt.NDArray[Any]:
    """Return the first band of a raster on a tile's grid, (height, width).

    Only the blocks under the tile are read. Pixels that the raster does not reach are ``nodata``.

    Args:
        href: Local path, or an address where ``api`` is given.
        grid: Target pixels.
        resampling: ``nearest`` or ``bilinear``.
        nodata: Value of missing pixels in the source (unless it names its own) and the result.
        api: Address of the STAC API that names the raster; None = it is on disk.

    Raises:
        SceneError: The raster cannot be opened or read.
    """
    transform = from_origin(grid.west, grid.north, TILE_RESOLUTION_M, TILE_RESOLUTION_M)
    opened = open_raster(Path(href)) if api is None else open_remote(href, api)
    with opened as source:
        if source.crs is None:
            raise SceneError(
                f"{unsigned(href)} has no coordinate system; expected a georeferenced COG. "
                "Is the file truncated?"
            )
        source_nodata = nodata if source.nodata is None else source.nodata
        with WarpedVRT(
            source,
            crs=f"EPSG:{grid.epsg}",
            transform=transform,
            width=grid.width,
            height=grid.height,
            resampling=Resampling[resampling],
            src_nodata=source_nodata,
            nodata=source_nodata,
            **_pixel_ratio(source),
        ) as warped:
            values = warped.read(1)
    return np.where(values == source_nodata, np.asarray(nodata, values.dtype), values)


def _pixel_ratio(source: Any) -> dict[str, float]:
    """Return the size of a source's pixels as a multiple of the tile's.

    Left to itself, GDAL guesses it from the number of pixels under the tile, edges included, and
    blurs tiles of one to four columns: a pixel's value would depend on how its tile was cut.
    """
    if not source.crs.is_projected:
        return {}
    width, height = source.res
    return {"XSCALE": width / TILE_RESOLUTION_M, "YSCALE": height / TILE_RESOLUTION_M}


def read_plain(path: Path) -> npt.NDArray[Any]:
    """Return the first band of a small raster as it is stored."""
    with open_raster(path) as source:
        return read_whole(source, path)


def georeference(path: Path) -> tuple[int, float, float] | None:
    """Return EPSG code, west and north edge of a raster, or None when it has none."""
    with open_raster(path) as source:
        if source.crs is None or source.crs.to_epsg() is None:
            return None
        check_pixel_size(path, source.transform.a, source.transform.e)
        return source.crs.to_epsg(), source.transform.c, source.transform.f
