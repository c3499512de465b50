"""A small export without a model: three tiles in two zones, two years, one of them southern."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tessera_core.domain.embedding import quantise
from tessera_core.domain.grid import TileGrid
from tessera_core.export.config import ExportConfig
from tessera_core.export.preview import write_preview
from tessera_core.export.store import root_attributes, write_store
from tessera_core.export.tiles import EXPORT_KIND, ExportedTile, save_tile
from tessera_core.export.zones import zones_of
from tessera_core.records.manifest import write_manifest

DIMENSIONS = 16
SETTINGS = ExportConfig(batch_size=64, bfloat16=False, chunk_size=8, shard_size=16)
GRIDS: dict[tuple[str, int], TileGrid] = {
    ("east", 2021): TileGrid(epsg=32631, west=500300, north=5629700, width=20, height=18),
    ("east", 2022): TileGrid(epsg=32631, west=500300, north=5629700, width=20, height=18),
    ("south", 2022): TileGrid(epsg=32736, west=300000, north=9999000, width=9, height=7),
    ("west", 2022): TileGrid(epsg=32631, west=500000, north=5629760, width=22, height=30),
}


def embeddings(grid: TileGrid, seed: int, hole: tuple[slice, slice] | None) -> np.ndarray:
    """Values of unit deviation, different in every pixel, NaN in the hole."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(grid.height, grid.width, DIMENSIONS)).astype(np.float32)
    values /= values.std(axis=-1, keepdims=True)
    if hole is not None:
        values[hole] = np.nan
    return values


def build(folder: Path, grids: Mapping[tuple[str, int], TileGrid]) -> list[ExportedTile]:
    """Write a whole export; every tile has no data in its first rows and columns."""
    hole = (slice(0, 3), slice(0, 5))
    tiles = [
        save_tile(folder, name, year, grid, quantise(embeddings(grid, seed, hole)))
        for seed, ((name, year), grid) in enumerate(sorted(grids.items()))
    ]
    zones, years = zones_of(tiles), sorted({tile.year for tile in tiles})
    attributes = root_attributes(
        model="models:/tessera/3",
        dimensions=DIMENSIONS,
        source_data=["file:data/scenes#sentinel-2-l2a"],
        build_version="0.1.0",
    )
    attributes |= {"tessera:model_digest": "a" * 64, "tessera:samples_digest": "b" * 64}
    write_store(folder, zones, years, SETTINGS, attributes)
    write_preview(folder, zones, years)
    facts = {
        "model_name": "tessera",
        "version": "3",
        "model_digest": "a" * 64,
        "samples_digest": "b" * 64,
        "settings": {"chunk_size": 8, "shard_size": 16},
        "dimensions": DIMENSIONS,
        "years": years,
        "num_pixels": sum(tile.num_pixels for tile in tiles),
        "tiles": [tile.to_dict() for tile in tiles],
    }
    write_manifest(folder, EXPORT_KIND, facts)
    return tiles
