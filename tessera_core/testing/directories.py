"""A tile as a TESSERA d-pixel directory on disk (method.md 1.2)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import clear_mask
from tessera_core.domain.tile import TileSeries

Arrays = dict[str, npt.NDArray[Any]]


def tile_arrays(tile: TileSeries) -> Arrays:
    """Return a tile's arrays by file stem, in the types that the reference's stacker writes."""
    return {
        "bands": tile.optical.reflectance,
        "masks": clear_mask(tile.optical.scl).astype(np.uint8),
        "doys": tile.optical.day_of_year,
        "sar_ascending": tile.ascending.backscatter_scaled_db,
        "sar_ascending_doy": tile.ascending.day_of_year.astype(np.int16),
        "sar_descending": tile.descending.backscatter_scaled_db,
        "sar_descending_doy": tile.descending.day_of_year.astype(np.int16),
    }


def tile_document(grid: TileGrid, year: int) -> dict[str, Any]:
    """Return the content of ``tile.json``: where and when."""
    size = float(TILE_RESOLUTION_M)
    return {
        "year": year,
        "crs": f"EPSG:{grid.epsg}",
        "transform": [size, 0.0, grid.west, 0.0, -size, grid.north],
    }


def write_tile_directory(
    folder: Path, arrays: Mapping[str, npt.NDArray[Any]], document: Mapping[str, Any]
) -> Path:
    """Write arrays as ``<stem>.npy`` and the document as ``tile.json``; return the folder."""
    folder.mkdir(parents=True)
    for stem, array in arrays.items():
        np.save(folder / f"{stem}.npy", array, allow_pickle=False)
    (folder / "tile.json").write_text(json.dumps(document), encoding="utf-8")
    return folder
