"""Shards on disk: ``<split>-00000-of-00003.parquet``, ``norms.json``, ``manifest.json``."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tessera_core.domain.grid import block_ids
from tessera_core.records.samples import SAMPLES_NAME, TileSamples, read_table, write_table
from tessera_core.records.schema import SAMPLES, SHARD, with_metadata


def load_rows(folders: list[Path], tiles: list[TileSamples], block_size_m: int) -> pa.Table:
    """Return all d-pixels of all tiles as shard rows, in tile order."""
    parts = []
    for folder, tile in zip(folders, tiles, strict=True):
        num = len(tile)
        epsg = np.full(num, tile.grid.epsg, np.int32)
        table = read_table(folder / SAMPLES_NAME, SAMPLES).replace_schema_metadata(None)
        own = {
            "tile": pa.array([tile.name] * num, pa.string()),
            "year": pa.array(np.full(num, tile.year, np.int32)),
            "epsg": pa.array(epsg),
            "block": pa.array(block_ids(epsg, tile.x, tile.y, block_size_m)),
        }
        columns = [own[name] if name in own else table[name] for name in SHARD.names]
        parts.append(pa.table(columns, schema=SHARD))
    return pa.concat_tables(parts)


def write_shards(
    rows: pa.Table, order: npt.NDArray[np.int64], split: str, rows_per_shard: int, folder: Path
) -> list[str]:
    """Write one split's d-pixels in their order; return the file names.

    All shards of a split differ in size by one row at most.
    """
    num_shards = -(-len(order) // rows_per_shard)
    names = []
    for index, chosen in enumerate(np.array_split(order, num_shards) if num_shards else []):
        name = f"{split}-{index:05d}-of-{num_shards:05d}.parquet"
        shard = rows.take(pa.array(chosen)).combine_chunks()
        schema = with_metadata(SHARD, {"split": split, "shard": index, "num_shards": num_shards})
        write_table(shard.replace_schema_metadata(schema.metadata), folder / name)
        names.append(name)
    return names
