"""An export's embeddings at points."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.api.points import Points, open_points
from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.embedding import Embedding
from tessera_core.errors import InputError, RecordError
from tessera_core.export.tiles import EXPORT_KIND, ExportedTile, open_array, tile_files
from tessera_core.records.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointSample:
    """What an export holds at N points."""

    points: Points
    """All that were offered, in their order."""

    embedding: Embedding
    """Codes (N, D) and scales (N,); scale NaN where there is no embedding."""

    is_inside: npt.NDArray[np.bool_]
    """(N,), whether a tile covers the point."""

    epsg: npt.NDArray[np.int32]
    """(N,), UTM zone of the tile that answered; 0 outside."""

    x: npt.NDArray[np.float64]
    """(N,), easting in that zone, metres; NaN outside."""

    y: npt.NDArray[np.float64]
    """(N,), northing in that zone, metres; NaN outside."""

    @property
    def has_embedding(self) -> npt.NDArray[np.bool_]:
        """(N,), whether there is an embedding at the point."""
        return np.isfinite(self.embedding.scale)

    @property
    def counts(self) -> dict[str, int]:
        """Points offered, used, outside every tile, and inside where nothing was ever seen."""
        inside, used = int(self.is_inside.sum()), int(self.has_embedding.sum())
        offered = len(self.points)
        return {
            "offered": offered,
            "used": used,
            "outside": offered - inside,
            "without_data": inside - used,
        }


def sample_points(
    export: str | Path, points: Points | str | Path, *, year: int | None = None
) -> PointSample:
    """Return the embeddings of the pixels that points lie in.

    Args:
        export: Folder of a published export.
        points: From ``open_points``, or the file that it reads.
        year: Calendar year; may be left out where the export holds one.

    Raises:
        RecordError: The folder is no export, or a tile of it cannot be read.
        InputError: The export has several years and none is named, or not this one; or every
            point lies outside it.
    """
    folder = Path(export)
    known = points if isinstance(points, Points) else open_points(points)
    tiles, dimensions = read_tiles(folder)
    chosen = _of_year(tiles, year, folder)
    num = len(known)
    codes, scale = np.zeros((num, dimensions), np.int8), np.full(num, np.nan, np.float32)
    epsg, place = np.zeros(num, np.int32), np.full((2, num), np.nan)
    for tile in chosen:
        x, y = _projected(known, tile.grid.epsg)
        column = np.floor((x - tile.grid.west) / TILE_RESOLUTION_M)
        row = np.floor((tile.grid.north - y) / TILE_RESOLUTION_M)
        covered = (column >= 0) & (column < tile.grid.width)
        covered &= (row >= 0) & (row < tile.grid.height)
        # As in the export's store: the first tile in order with data keeps a place.
        found = np.flatnonzero(covered & ~np.isfinite(scale))
        files = tile_files(folder, tile.name, tile.year)
        at = row[found].astype(np.int64), column[found].astype(np.int64)
        codes[found], scale[found] = open_array(files.codes)[at], open_array(files.scales)[at]
        epsg[found], place[:, found] = tile.grid.epsg, (x[found], y[found])
    if not (epsg > 0).any():
        first = chosen[0].grid
        raise InputError(
            f"all {num} points lie outside {folder}, whose first tile covers {first.bounds} m of "
            f"EPSG:{first.epsg}; the points are in {known.crs}, the first at ({known.x[0]}, "
            f"{known.y[0]}): are longitude and latitude swapped?"
        )
    return PointSample(
        points=known,
        embedding=Embedding(codes=codes, scale=scale),
        is_inside=epsg > 0,
        epsg=epsg,
        x=place[0],
        y=place[1],
    )


def read_tiles(folder: Path) -> tuple[list[ExportedTile], int]:
    """Return the tiles of an export and the width of its embeddings; raises RecordError."""
    manifest = Manifest.read(folder)
    facts: dict[str, Any] = dict(manifest.facts)
    if manifest.kind != EXPORT_KIND or not {"tiles", "dimensions"} <= facts.keys():
        raise RecordError(f"{folder} holds a {manifest.kind}, expected an export with its tiles")
    tiles = [ExportedTile.from_dict(entry) for entry in facts["tiles"]]
    return tiles, int(facts["dimensions"])


def _of_year(tiles: list[ExportedTile], year: int | None, folder: Path) -> list[ExportedTile]:
    years = sorted({tile.year for tile in tiles})
    chosen = years[0] if year is None and len(years) == 1 else year
    if chosen not in years:
        raise InputError(f"{folder} has years {years}, got {year}; name one of them")
    return [tile for tile in tiles if tile.year == chosen]


def _projected(
    points: Points, epsg: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return eastings and northings (N,) in a UTM zone; NaN where a point has no place there."""
    from rasterio.warp import transform

    x, y = np.full((2, len(points)), np.nan)
    known = np.flatnonzero(np.isfinite(points.x) & np.isfinite(points.y))
    if len(known):
        moved = transform(points.crs, f"EPSG:{epsg}", points.x[known], points.y[known])
        x[known], y[known] = np.asarray(moved[:2], np.float64)
    return np.where(np.isfinite(x), x, np.nan), np.where(np.isfinite(y), y, np.nan)
