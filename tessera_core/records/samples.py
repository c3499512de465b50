"""Samples on disk: one Parquet file per tile and year, and the scenes they came from.

Layout: ``samples/tile=<name>/window=<year>/{samples,scenes}.parquet`` and ``manifest.json``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, optical_series, radar_series
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.tile import RadarSeries, TileSeries
from tessera_core.errors import RecordError
from tessera_core.records.schema import SAMPLES, SCENES, metadata_of, with_metadata

SAMPLES_NAME: Final = "samples.parquet"
SCENES_NAME: Final = "scenes.parquet"
ROW_GROUP_SIZE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One source file of one acquisition; a row of the scenes table."""

    scene_id: str
    """STAC item id, or the tile directory's name."""

    collection: str
    """STAC collection id, or ``tessera-tile``."""

    acquired: str
    """ISO date of the acquisition, UTC; empty when the file holds several."""

    orbit: str
    """``ascending`` or ``descending`` for Sentinel-1, else empty."""

    baseline: str
    """Sentinel-2 processing baseline, or empty."""

    offset_removed: bool
    """True where ingest subtracted the baseline offset."""

    asset: str
    """Asset key or file name."""

    href: str
    """Where the file was read, relative to the root when it lies there."""

    sha256: str
    """Digest of the file, or its ETag for a remote one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileSamples:
    """The d-pixels of one tile and year, read back."""

    name: str
    """Tile name."""

    year: int
    """Calendar year."""

    grid: TileGrid
    """Where the pixels lie."""

    row: npt.NDArray[np.int32]
    """(N,), pixel row in the grid."""

    column: npt.NDArray[np.int32]
    """(N,), pixel column in the grid."""

    x: npt.NDArray[np.float64]
    """(N,), easting of the pixel centre, metres."""

    y: npt.NDArray[np.float64]
    """(N,), northing of the pixel centre, metres."""

    pixels: DPixels
    """The observations."""

    def __len__(self) -> int:
        """Return the number of d-pixels."""
        return len(self.row)


def tile_folder(samples: Path, name: str, year: int) -> Path:
    """Return the partition folder of one tile and year."""
    return samples / f"tile={name}" / f"window={year}"


def list_tiles(samples: Path) -> list[Path]:
    """Return the partition folders that hold samples, in name order."""
    return sorted(path.parent for path in samples.glob(f"tile=*/window=*/{SAMPLES_NAME}"))


def write_tile(tile: TileSeries, scenes: Iterable[Scene], folder: Path) -> int:
    """Write one tile's samples and scenes; return the number of d-pixels.

    All observations are kept, obscured ones too: the mask policy stays a choice of the reader.
    """
    table = tile_table(tile)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(table, folder / SAMPLES_NAME)
    ordered = sorted(scenes, key=lambda scene: (scene.collection, scene.acquired, scene.href))
    scene_table = pa.Table.from_pylist([asdict(scene) for scene in ordered], schema=SCENES)
    write_table(scene_table, folder / SCENES_NAME)
    return int(table.num_rows)


def tile_table(tile: TileSeries) -> pa.Table:
    """Return the d-pixels of a tile as rows of the samples schema."""
    rows, columns = np.nonzero(tile.inside)
    x, y = tile.grid.centres()
    arrays: dict[str, pa.Array] = {
        "row": pa.array(rows.astype(np.int32)),
        "column": pa.array(columns.astype(np.int32)),
        "x": pa.array(x[columns]),
        "y": pa.array(y[rows]),
        "s2_reflectance": _lists(tile.optical.reflectance[:, rows, columns]),
        "s2_scl": _lists(tile.optical.scl[:, rows, columns, None]),
        "s2_day_of_year": _repeated(tile.optical.day_of_year, len(rows)),
        **_radar_columns("s1_ascending", tile.ascending, rows, columns),
        **_radar_columns("s1_descending", tile.descending, rows, columns),
    }
    metadata = {"tile": tile.name, "year": tile.year, "grid": asdict(tile.grid)}
    schema = with_metadata(SAMPLES, metadata)
    return pa.table([arrays[name] for name in schema.names], schema=schema)


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet with the options that make equal tables equal bytes."""
    pq.write_table(
        table, path, compression="zstd", row_group_size=ROW_GROUP_SIZE, write_statistics=True
    )


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read Parquet and check its columns; raises RecordError when unreadable or different."""
    try:
        # ParquetFile, not read_table: folder names such as tile=x are not columns.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordError(f"cannot read {path}: {error}") from error
    _check_columns(table.schema, schema, path)
    return table


def read_row_groups(
    path: Path, schema: pa.Schema, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Yield Parquet one row group at a time, so that a large file need not fit into memory.

    Args:
        path: File to read.
        schema: Columns that it must have.
        columns: Those to read; all when None.

    Raises:
        RecordError: The file is unreadable or has other columns.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow, schema, path)
            for index in range(file.num_row_groups):
                # Threads would each hold buffers of their own, as many as there are cores.
                yield file.read_row_group(index, columns=columns, use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordError(f"cannot read {path}: {error}") from error


def read_tile(folder: Path) -> TileSamples:
    """Read one partition folder."""
    table = read_table(folder / SAMPLES_NAME, SAMPLES)
    return tile_samples(table, folder / SAMPLES_NAME)


def tile_samples(table: pa.Table, where: Path) -> TileSamples:
    """Return rows of the samples schema as arrays; ``where`` names their source in errors."""
    metadata = metadata_of(table.schema, where)
    return TileSamples(
        name=metadata["tile"],
        year=metadata["year"],
        grid=TileGrid(**metadata["grid"]),
        row=table["row"].to_numpy(),
        column=table["column"].to_numpy(),
        x=table["x"].to_numpy(),
        y=table["y"].to_numpy(),
        pixels=pixels_of(table),
    )


def read_scenes(folder: Path) -> list[dict[str, Any]]:
    """Return the scenes table of one partition folder as plain rows."""
    rows: list[dict[str, Any]] = read_table(folder / SCENES_NAME, SCENES).to_pylist()
    return rows


def pixels_of(table: pa.Table) -> DPixels:
    """Return the observations in a samples or shard table, row by row."""
    day, offsets = _flat(table, "s2_day_of_year")
    reflectance, _ = _flat(table, "s2_reflectance")
    scl, _ = _flat(table, "s2_scl")
    radar = {}
    for orbit in ("ascending", "descending"):
        days, starts = _flat(table, f"s1_{orbit}_day_of_year")
        values, _ = _flat(table, f"s1_{orbit}")
        radar[orbit] = radar_series(values.reshape(-1, NUM_S1), days, starts)
    return DPixels(
        optical=optical_series(reflectance.reshape(-1, NUM_S2), scl, day, offsets), **radar
    )


def _check_columns(found: pa.Schema, expected: pa.Schema, path: Path) -> None:
    if not found.equals(expected, check_metadata=False):
        raise RecordError(
            f"{path} has columns {found.names}, expected {expected.names}; "
            "was it written by another version? Ingest again"
        )


def _flat(table: pa.Table, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return a list column as flat values and offsets."""
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    offsets = column.offsets.to_numpy().astype(np.int64)
    # flatten() honours slices, the raw values do not.
    return column.flatten().to_numpy(), offsets - offsets[0] if len(offsets) else offsets


def _lists(cube: npt.NDArray[Any]) -> pa.ListArray:
    """Return (time, pixel, band) as one flattened list per pixel."""
    by_pixel = np.ascontiguousarray(cube.transpose(1, 0, 2)).reshape(cube.shape[1], -1)
    offsets = np.arange(len(by_pixel) + 1, dtype=np.int32) * np.int32(by_pixel.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(by_pixel.reshape(-1)))


def _repeated(days: npt.NDArray[np.uint16], num_pixels: int) -> pa.ListArray:
    """Return the tile's dates once for each pixel."""
    return _lists(np.broadcast_to(days[:, None, None], (len(days), num_pixels, 1)))


def _radar_columns(
    name: str, series: RadarSeries, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> dict[str, pa.Array]:
    return {
        name: _lists(series.backscatter_scaled_db[:, rows, columns]),
        f"{name}_day_of_year": _repeated(series.day_of_year, len(rows)),
    }
