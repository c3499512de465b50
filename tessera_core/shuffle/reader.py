"""Shards as a feed: decoded once into memory-mapped arrays, then gathered in whole batches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import NormStats
from tessera_core.errors import RecordError
from tessera_core.records.arrays import write_array
from tessera_core.records.files import atomic_folder, read_json
from tessera_core.records.manifest import Manifest
from tessera_core.records.samples import pixels_of, read_table
from tessera_core.records.schema import SHARD

SENSORS: Final = ("optical", "ascending", "descending")
PARTS: Final = ("values", "day_of_year", "offsets", "valid")
POSITION: Final = ("epsg", "x", "y")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feed:
    """One split, ready to gather from."""

    pixels: DPixels
    """N d-pixels, memory-mapped, in shard order."""

    epsg: npt.NDArray[np.int32]
    """(N,), UTM zone."""

    x: npt.NDArray[np.float64]
    """(N,), easting of the pixel centre, metres."""

    y: npt.NDArray[np.float64]
    """(N,), northing of the pixel centre, metres."""


def open_feed(shards: Path, split: str, cache: Path) -> Feed:
    """Return one split of a shard set, decoding it at first use.

    Args:
        shards: Folder that the shuffle stage wrote.
        split: ``train``, ``val`` or ``test``.
        cache: Where decoded arrays are kept, keyed by the manifest digest.
    """
    manifest = Manifest.read(shards)
    folder = cache / manifest.digest[:16] / split
    if not folder.is_dir():
        names = [f.path for f in manifest.files if f.path.startswith(f"{split}-")]
        tables = [read_table(shards / name, SHARD) for name in names]
        if not tables:
            raise RecordError(f"{shards} has no shard of split {split!r}; shuffle again")
        table = pa.concat_tables([part.replace_schema_metadata(None) for part in tables])
        _materialise(table, folder)
    arrays = {
        path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")
    }
    return Feed(
        pixels=DPixels(
            **{
                sensor: Series(**{part: arrays[f"{sensor}.{part}"] for part in PARTS})
                for sensor in SENSORS
            }
        ),
        **{name: arrays[name] for name in POSITION},
    )


def read_norms(shards: Path) -> NormStats:
    """Return the train split's normalisation."""
    return NormStats.from_dict(read_json(shards / "norms.json"))


def _materialise(table: pa.Table, folder: Path) -> None:
    pixels = pixels_of(table)
    arrays: dict[str, npt.NDArray[Any]] = {name: table[name].to_numpy() for name in POSITION}
    for sensor in SENSORS:
        for part in PARTS:
            arrays[f"{sensor}.{part}"] = getattr(getattr(pixels, sensor), part)
    with atomic_folder(folder) as building:
        for name, array in arrays.items():
            write_array(building / f"{name}.npy", array)
