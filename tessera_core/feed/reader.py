"""Shards as a feed: decoded once into memory-mapped arrays, then gathered in whole batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import NormStats
from tessera_core.domain.padded import PaddedPixels
from tessera_core.errors import RecordError
from tessera_core.feed.decode import (
    LAYOUT,
    PARTS,
    POSITION,
    SENSORS,
    TILES_NAME,
    materialise,
)
from tessera_core.feed.from_arrays import gather
from tessera_core.feed.from_files import fetch
from tessera_core.records.arrays import ArrayFile, inspect_array, map_array
from tessera_core.records.files import read_json
from tessera_core.records.locks import one_at_a_time
from tessera_core.records.manifest import Manifest

RESIDENT_BYTES: Final = 1 << 30
"""What gathering from a feed may keep in memory, however large the data set."""

DECODING_LIMIT_S: Final = 12 * 3600.0
"""Longest wait for another process that decodes the same split."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feed:
    """One split, ready to gather from."""

    pixels: DPixels
    """N d-pixels, memory-mapped, in shard order. What is touched here counts as memory until the
    system takes it back, so take batches from ``gather``."""

    epsg: npt.NDArray[np.int32]
    """(N,), UTM zone."""

    x: npt.NDArray[np.float64]
    """(N,), easting of the pixel centre, metres."""

    y: npt.NDArray[np.float64]
    """(N,), northing of the pixel centre, metres."""

    tile: npt.NDArray[np.int32]
    """(N,), tile and year that each d-pixel is from, an index into ``tiles``."""

    tiles: tuple[str, ...]
    """Names ``<tile>-<year>``, sorted."""

    tile_counts: npt.NDArray[np.int64]
    """(K,), d-pixels of each tile."""

    files: Mapping[str, ArrayFile]
    """Where the arrays lie, by names such as ``optical.values``."""

    is_resident: bool
    """Whether all arrays together are within the bound, so that they may stay mapped."""

    def gather(self, rows: npt.NDArray[np.int64]) -> PaddedPixels:
        """Return all observations of some d-pixels; may be called from several threads at once.

        Copies from the mapped arrays where they may stay in memory. Reads from the files where
        they may not, which keeps nothing and takes some fifteen times as long.

        Args:
            rows: (B,), d-pixels in any order, repeats allowed.

        Raises:
            RecordError: A row does not exist, rows are not int64 (B,), or a file that is read
                is gone or shorter than it was.
        """
        return gather(self.pixels, rows) if self.is_resident else fetch(self.files, rows)


def open_feed(
    shards: Path, split: str, cache: Path, *, resident_bytes: int = RESIDENT_BYTES
) -> Feed:
    """Return one split of a shard set, decoding it at first use.

    Args:
        shards: Folder that the shuffle stage wrote.
        split: ``train``, ``val`` or ``test``.
        cache: Where decoded arrays are kept, keyed by the manifest digest.
        resident_bytes: What gathering may keep in memory.

    Raises:
        RecordError: The shards or the decoded arrays are unreadable, incomplete or disagree.
        StorageError: The arrays cannot be written.
    """
    manifest = Manifest.read(shards)
    folder = cache / manifest.digest[:16] / split
    # Ranks and trials start together: one decodes, the others wait and find it done.
    with one_at_a_time(folder.with_name(f".{split}.lock"), limit_s=DECODING_LIMIT_S):
        # Earlier versions kept no tiles; what they decoded is decoded anew.
        if not (folder / "tile.npy").is_file():
            names = [f.path for f in manifest.files if f.path.startswith(f"{split}-")]
            if not names:
                raise RecordError(f"{shards} has no shard of split {split!r}; shuffle again")
            materialise([shards / name for name in names], folder)
    try:
        return read_feed(folder, resident_bytes=resident_bytes)
    except RecordError as error:
        raise RecordError(
            f"{error}. A decoded array was damaged after it was written: look after the disk, "
            f"delete {folder} and run again, which decodes the shards anew"
        ) from error


def read_feed(folder: Path, *, resident_bytes: int = RESIDENT_BYTES) -> Feed:
    """Open decoded arrays; raises RecordError naming the file that is missing or does not fit."""
    files = {name: inspect_array(folder / f"{name}.npy") for name in LAYOUT}
    mapped = {name: map_array(file) for name, file in files.items()}
    arrays = {name: array for name, (array, _) in mapped.items()}
    _check_layout(files, arrays)
    tiles = _read_tiles(folder / TILES_NAME, arrays["tile"])
    tile_counts = np.bincount(arrays["tile"], minlength=len(tiles))
    pixels = DPixels(**{sensor: _series(folder, sensor, arrays) for sensor in SENSORS})
    # The checks touched every offset and tile.
    for _, mapping in mapped.values():
        _release(mapping)
    return Feed(
        pixels=pixels,
        **{name: arrays[name] for name in (*POSITION, "tile")},
        tiles=tiles,
        tile_counts=tile_counts,
        files=files,
        is_resident=sum(file.size for file in files.values()) <= resident_bytes,
    )


def read_norms(shards: Path) -> NormStats:
    """Return the train split's normalisation."""
    return NormStats.from_dict(read_json(shards / "norms.json"))


def _check_layout(files: Mapping[str, ArrayFile], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    num_pixels = len(arrays["tile"])
    lengths = dict.fromkeys((*POSITION, "tile"), num_pixels)
    for sensor in SENSORS:
        lengths[f"{sensor}.offsets"] = num_pixels + 1
        offsets = arrays[f"{sensor}.offsets"]
        num_observations = int(offsets[-1]) if len(offsets) else 0
        for part in ("values", "day_of_year", "valid"):
            lengths[f"{sensor}.{part}"] = num_observations
    for name, (dtype, row_shape) in LAYOUT.items():
        file, shape = files[name], (lengths[name], *row_shape)
        if file.dtype != dtype or file.shape != shape:
            raise RecordError(
                f"{file.path} holds {file.dtype} {file.shape}, expected {np.dtype(dtype)} {shape}"
            )


def _series(folder: Path, sensor: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Series:
    try:
        return Series(**{part: arrays[f"{sensor}.{part}"] for part in PARTS})
    except RecordError as error:
        raise RecordError(f"{folder / sensor}.*.npy: {error}") from error


def _read_tiles(path: Path, codes_N: npt.NDArray[np.int32]) -> tuple[str, ...]:
    tiles = read_json(path)
    if not isinstance(tiles, list):
        raise RecordError(f"{path} is not a list of tiles")
    if len(codes_N) and not 0 <= codes_N.min() <= codes_N.max() < len(tiles):
        raise RecordError(
            f"{path} names {len(tiles)} tiles, but tile.npy has codes "
            f"{codes_N.min()} to {codes_N.max()}"
        )
    return tuple(tiles)


def _release(mapping: mmap) -> None:
    """Take touched pages of a mapped file out of this process, where the system can."""
    # Not on Windows, whose mmap has no madvise.
    if hasattr(mapping, "madvise"):
        from mmap import MADV_DONTNEED

        mapping.madvise(MADV_DONTNEED)
