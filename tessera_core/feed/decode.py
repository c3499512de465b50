"""Shards decoded into NPY files, one row group at a time.

Beside the arrays lies ``tiles.json``, the names that the codes in ``tile.npy`` stand for.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.records.arrays import GrowingArray
from tessera_core.records.files import atomic_folder, write_json
from tessera_core.records.samples import pixels_of, read_row_groups
from tessera_core.records.schema import SHARD

SENSORS: Final = ("optical", "ascending", "descending")
PARTS: Final = ("values", "day_of_year", "offsets", "valid")
POSITION: Final = ("epsg", "x", "y")
TILES_NAME: Final = "tiles.json"

Layout = tuple[type[np.generic], tuple[int, ...]]

LAYOUT: Final[dict[str, Layout]] = {
    "epsg": (np.int32, ()),
    "x": (np.float64, ()),
    "y": (np.float64, ()),
    "tile": (np.int32, ()),
    **{f"{sensor}.day_of_year": (np.uint16, ()) for sensor in SENSORS},
    **{f"{sensor}.offsets": (np.int64, ()) for sensor in SENSORS},
    **{f"{sensor}.valid": (np.bool_, ()) for sensor in SENSORS},
    "optical.values": (np.uint16, (NUM_S2,)),
    "ascending.values": (np.int16, (NUM_S1,)),
    "descending.values": (np.int16, (NUM_S1,)),
}
"""Element type and shape of one row of each array of a feed, in a file of its name."""


def materialise(shards: Sequence[Path], folder: Path) -> None:
    """Decode shards, in their order, into one NPY file for each array of ``LAYOUT``.

    Holds one row group in memory, whatever the number and size of the shards.

    Raises:
        RecordError: A shard is unreadable or has other columns; nothing is left behind.
        StorageError: The files cannot be written; nothing is left behind.
    """
    # Every shard is opened before anything is written, which finds most damage at once.
    tiles = sorted({name for path in shards for name in _tile_names(path)})
    with atomic_folder(folder) as building, ExitStack() as files:
        arrays = {
            name: files.enter_context(GrowingArray(building / f"{name}.npy", dtype, row_shape))
            for name, (dtype, row_shape) in LAYOUT.items()
        }
        ends = dict.fromkeys(SENSORS, 0)
        for sensor in SENSORS:
            arrays[f"{sensor}.offsets"].append(np.zeros(1, np.int64))
        for path in tqdm(shards, desc="decode shards", unit="shard", leave=False, disable=None):
            for table in read_row_groups(path, SHARD):
                _append(table, tiles, arrays, ends)
        write_json(building / TILES_NAME, tiles)


def _append(
    table: pa.Table, tiles: list[str], arrays: dict[str, GrowingArray], ends: dict[str, int]
) -> None:
    """Append one row group; ``ends`` counts the observations of each sensor so far."""
    for name in POSITION:
        arrays[name].append(table[name].to_numpy())
    arrays["tile"].append(_tile_codes(table, tiles))
    pixels = pixels_of(table)
    for sensor in SENSORS:
        series = getattr(pixels, sensor)
        for part in ("values", "day_of_year", "valid"):
            arrays[f"{sensor}.{part}"].append(getattr(series, part))
        arrays[f"{sensor}.offsets"].append(series.offsets[1:] + ends[sensor])
        ends[sensor] += len(series.values)


def _tile_names(path: Path) -> set[str]:
    """Return the names of all tiles and years in a shard."""
    groups = read_row_groups(path, SHARD, columns=["tile", "year"])
    return {name for table in groups for name in _names(table).unique().to_pylist()}


def _tile_codes(table: pa.Table, tiles: list[str]) -> npt.NDArray[np.int32]:
    codes: npt.NDArray[Any] = pc.index_in(_names(table), value_set=pa.array(tiles)).to_numpy()
    return codes.astype(np.int32, copy=False)


def _names(table: pa.Table) -> pa.ChunkedArray:
    """Return ``<tile>-<year>`` of each row."""
    return pc.binary_join_element_wise(table["tile"], table["year"].cast(pa.string()), "-")
