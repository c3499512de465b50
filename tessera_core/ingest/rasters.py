"""Windowed raster reads onto a tile's grid."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import TileGrid
from tessera_core.errors import SceneError
from tessera_core.ingest.tiling import check_pixel_size

GDAL_OPTIONS = {
    # Never list a folder or bucket to find side-car files that COGs do not have.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_MAX_DATASET_POOL_SIZE": 64,
}


def read_onto_grid(
    href: str, grid: TileGrid, *, resampling: str, nodata: float
) -> npt.NDArray[Any]:
    """Return the first band of a raster on a tile's grid, (height, width).

    Only the blocks under the tile are read. Pixels that the raster does not reach are ``nodata``.

    Args:
        href: Local path or address.
        grid: Target pixels.
        resampling: ``nearest`` or ``bilinear``.
        nodata: Value of missing pixels in the source (unless it names its own) and the result.

    Raises:
        SceneError: The raster cannot be opened or read.
    """
    transform = from_origin(grid.west, grid.north, TILE_RESOLUTION_M, TILE_RESOLUTION_M)
    with _open(href) as source:
        if source.crs is None:
            raise SceneError(
                f"{href} has no coordinate system; expected a georeferenced COG. "
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
    with _open(path) as source:
        values: npt.NDArray[Any] = source.read(1)
        return values


def georeference(path: Path) -> tuple[int, float, float] | None:
    """Return EPSG code, west and north edge of a raster, or None when it has none."""
    with _open(path) as source:
        if source.crs is None or source.crs.to_epsg() is None:
            return None
        check_pixel_size(path, source.transform.a, source.transform.e)
        return source.crs.to_epsg(), source.transform.c, source.transform.f


@contextlib.contextmanager
def _open(href: str | Path) -> Iterator[Any]:
    """Yield an open raster, which may lack coordinates; raises SceneError when unreadable."""
    try:
        with rasterio.Env(**GDAL_OPTIONS):
            with warnings.catch_warnings():
                # Whoever needs coordinates says so in an error of its own.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                source = rasterio.open(href)
            with source:
                yield source
    except RasterioError as error:
        raise SceneError(
            f"cannot read {href}: {error}; is the file truncated or not a GeoTIFF?"
        ) from error
