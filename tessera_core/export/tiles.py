"""One exported tile: int8 codes, float32 scales and a grid file, as NPY and JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.embedding import Embedding
from tessera_core.domain.grid import TileGrid
from tessera_core.errors import RecordError
from tessera_core.records.arrays import write_array
from tessera_core.records.files import atomic_file, write_json

EXPORT_KIND: Final = "export"
NPY_FOLDER: Final = "npy"
NORTHING_OFFSET_M: Final = 10_000_000
"""False northing of the southern zones: a southern northing less this is a northern one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedTile:
    """What an export says about one tile and year."""

    name: str
    """Tile name."""

    year: int
    """Calendar year."""

    grid: TileGrid
    """Where the pixels lie."""

    num_pixels: int
    """Pixels with an embedding."""

    @property
    def label(self) -> str:
        """Name and year, for messages and for order."""
        return f"{self.name}/{self.year}"

    def to_dict(self) -> dict[str, Any]:
        """Return the tile's entry in the manifest's facts."""
        return {
            "tile": self.name,
            "year": self.year,
            "epsg": self.grid.epsg,
            "bounds": list(self.grid.bounds),
            "num_pixels": self.num_pixels,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read a manifest entry; raises RecordError when a key is missing or senseless."""
        try:
            west, south, east, north = (float(edge) for edge in stored["bounds"])
            return cls(
                name=str(stored["tile"]),
                year=int(stored["year"]),
                grid=TileGrid(
                    epsg=int(stored["epsg"]),
                    west=west,
                    north=north,
                    width=round((east - west) / TILE_RESOLUTION_M),
                    height=round((north - south) / TILE_RESOLUTION_M),
                ),
                num_pixels=int(stored["num_pixels"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"manifest entry {dict(stored)!r} is not a tile: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TileFiles:
    """Where one tile lies in an export."""

    codes: Path
    """int8 (row, column, dimension), 0 where there is no data."""

    scales: Path
    """float32 (row, column), NaN where there is no data."""

    grid: Path
    """JSON: tile, year, epsg, transform."""


def tile_files(export: Path, name: str, year: int) -> TileFiles:
    """Return the paths of one tile in an export folder."""
    folder = export / NPY_FOLDER / name / str(year)
    return TileFiles(
        codes=folder / f"{name}.npy",
        scales=folder / f"{name}_scales.npy",
        grid=folder / f"{name}_grid.json",
    )


def transform_of(west: float, north: float) -> list[float]:
    """Return the six numbers of a north-up 10 m affine, in rasterio's order."""
    size = float(TILE_RESOLUTION_M)
    return [size, 0.0, float(west), 0.0, -size, float(north)]


def grid_record(name: str, year: int, grid: TileGrid) -> dict[str, Any]:
    """Return the content of a tile's grid file."""
    return {
        "tile": name,
        "year": year,
        "epsg": grid.epsg,
        "transform": transform_of(grid.west, grid.north),
    }


def save_tile(
    export: Path, name: str, year: int, grid: TileGrid, embedding: Embedding
) -> ExportedTile:
    """Write one tile's three files and return its entry.

    Args:
        export: Folder of the export.
        name: Tile name.
        year: Calendar year.
        grid: Where the pixels lie.
        embedding: Codes (row, column, dimension) and scales (row, column) on that grid.
    """
    files = tile_files(export, name, year)
    files.codes.parent.mkdir(parents=True, exist_ok=True)
    _save(files.codes, embedding.codes)
    _save(files.scales, embedding.scale)
    write_json(files.grid, grid_record(name, year, grid))
    return ExportedTile(
        name=name, year=year, grid=grid, num_pixels=int(np.isfinite(embedding.scale).sum())
    )


def open_array(path: Path) -> npt.NDArray[Any]:
    """Map an NPY file into memory; raises RecordError when it cannot be read."""
    try:
        stored: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecordError(f"cannot read {path}: {error}") from error
    return stored


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with atomic_file(path) as temporary:
        write_array(temporary, array)
