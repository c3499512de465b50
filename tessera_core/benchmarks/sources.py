"""Where the d-pixels of a task come from: the run's samples, tile directories, long-form tables.

All are read part by part, and a part knows its labels: rasters at pixel centres, or the columns
of a table.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.field_groups import Homes, field_homes
from tessera_core.benchmarks.long_table import read_long_table
from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.grid import TileGrid
from tessera_core.errors import AbsentDataError, InputError, did_you_mean
from tessera_core.ingest.sources.tiles import (
    BANDS,
    DOCUMENT,
    OPTIONAL,
    REQUIRED,
    TileDirectories,
)
from tessera_core.records.benchmarks import Benchmark, DataSource, Source
from tessera_core.records.files import FileDigest, read_json
from tessera_core.records.labels import (
    CLASS_RASTER,
    GROUP_RASTER,
    LEGEND_NAME,
    UNLABELLED,
    read_label,
)
from tessera_core.records.outside import digest_source
from tessera_core.records.samples import (
    TileSamples,
    list_tiles,
    read_tile,
    tile_samples,
    tile_table,
)
from tessera_core.records.selection_fields import selection_fields

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NO_DATA: Final = "the folder of benchmark data holds no"
"""How it is said that data is absent: without a path, so that receipts agree everywhere."""

HIDDEN_RASTERS: Final = (CLASS_RASTER, GROUP_RASTER)
"""What a field that chooses among encoders must not show to a report."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One tile and year of a source, or a whole table."""

    name: str
    """Of the tile or the table."""

    year: int
    """Calendar year."""

    grid: TileGrid | None
    """Where the pixels lie; None for tables."""

    row: npt.NDArray[np.int32]
    """(N,), pixel row in the grid, or row of the table."""

    column_number: npt.NDArray[np.int32]
    """(N,), pixel column in the grid, or 0."""

    epsg: npt.NDArray[np.int32]
    """(N,), CRS of the positions."""

    x: Floats
    """(N,), easting in metres, or longitude in degrees."""

    y: Floats
    """(N,), northing in metres, or latitude in degrees."""

    pixels: DPixels
    """N d-pixels."""

    parcel: Ints
    """(N,), field that a d-pixel lies in, 0 = none; fields that choose among encoders included,
    for labels of theirs that are not hidden may not be on two sides either."""

    read: Callable[[str, float], npt.NDArray[Any]]
    """Name of a raster or column, what "no data" in a raster means -> its values, (N,)."""

    homes: Callable[[], Homes]
    """Where the fields of the source are at home; read when somebody asks."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What ``tile.json`` says; empty elsewhere."""

    def raster(self, name: str, empty: float = np.nan) -> Floats:
        """Return a label raster at the pixels, (N,), NaN where it says nothing.

        Args:
            name: File name.
            empty: What "no data" inside the raster means.
        """
        if self.grid is None:
            raise InputError(f"{self.name} is a table and has no raster {name}; name a column")
        return np.asarray(self.read(name, empty), np.float64)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of the labels, (N,); raises InputError where there is none."""
        if self.grid is not None:
            raise InputError(f"{self.name} is a tile and has no column {name}; name a raster")
        return self.read(name, np.nan)

    def words(self, name: str) -> npt.NDArray[np.str_]:
        """Return what the labels or the tile say of each d-pixel, (N,), empty where nothing.

        Args:
            name: Column of the labels, or key in ``tile.json``.

        Raises:
            InputError: There is no such column or key.
        """
        if self.grid is None:
            return _words(self.column(name))
        if name not in self.facts:
            raise InputError(
                f"{self.name}: its {DOCUMENT} has no {name}. {did_you_mean(name, self.facts)}"
            )
        said = self.facts[name]
        return np.full(len(self.pixels), "" if said is None else str(said))


def read_parts(
    data: DataSource, samples: Path, label_folders: list[Path], base: Path
) -> Iterator[Part]:
    """Yield the parts of a source, one in memory at a time.

    Args:
        data: Which source.
        samples: The run's own samples.
        label_folders: Label rasters beside the run's scenes.
        base: Folder of benchmark data.

    Raises:
        AbsentDataError: The source is not there.
        SceneError, RecordError: It is there and cannot be read.
    """
    if data.kind == Source.SAMPLES:
        yield from _sample_parts(samples, label_folders)
    elif data.kind == Source.TILES:
        yield from _tile_parts(_located(base, data.path), base)
    else:
        yield _table_part(_located(base, data.path), _located(base, data.labels))


def source_files(
    benchmark: Benchmark, label_folders: list[Path], base: Path, root: Path
) -> tuple[FileDigest, ...]:
    """Return the digests of what a task reads from outside the run; nothing where it is absent."""
    asked = {benchmark.truth.raster, benchmark.group.raster, GROUP_RASTER, LEGEND_NAME} - {None}
    data = benchmark.data
    if data.kind == Source.SAMPLES:
        paths = [folder / str(name) for folder in label_folders for name in sorted(map(str, asked))]
    elif data.kind == Source.TILES:
        folder = base / str(data.path)
        tiles = [folder, *sorted(folder.glob("*/"))]
        names = [*REQUIRED, *OPTIONAL, *sorted(map(str, asked))]
        paths = [tile / name for tile in tiles for name in names]
    else:
        paths = [base / str(data.path), base / str(data.labels)]
    return tuple(digest_source(path, root) for path in paths if path.is_file())


def _located(base: Path, name: str | None) -> Path:
    """Return a path below the folder of benchmark data.

    Raises:
        AbsentDataError: It is not there.
        InputError: A link leads out of the folder.
    """
    path = base / str(name)
    if not path.exists():
        raise AbsentDataError(
            f"{NO_DATA} {name}; put the data there, or set evaluate.benchmark_data to the folder "
            "that holds it"
        )
    _require_inside(path, base)
    return path


def _require_inside(path: Path, base: Path) -> None:
    """Refuse a link out of the folder: what a definition names could else be any file."""
    if not path.resolve().is_relative_to(base.resolve()):
        raise InputError(f"{path} leads out of {base}; copy the data instead of linking it")


def _sample_parts(samples: Path, label_folders: list[Path]) -> Iterator[Part]:
    folders = list_tiles(samples)
    if not folders:
        raise AbsentDataError(f"there are no samples in {samples}; run `tessera ingest` first")
    hidden = selection_fields(label_folders)
    homes = cache(lambda: field_homes(label_folders, is_one_numbering=False))
    for folder in folders:
        yield _grid_part(read_tile(folder), label_folders, hidden, {}, homes)


def _tile_parts(folder: Path, base: Path) -> Iterator[Part]:
    source = TileDirectories(folder, folder)
    refs = source.tiles()
    is_one = (folder / BANDS).is_file()
    places = [folder if is_one else folder / ref.name for ref in refs]
    homes = cache(lambda: field_homes(places, is_one_numbering=True))
    for ref, place in zip(refs, places, strict=True):
        for path in place.iterdir():
            _require_inside(path, base)
        series, _ = source.read(ref)
        tile = tile_samples(tile_table(series), place)
        document = place / DOCUMENT
        facts = read_json(document) if document.is_file() else {}
        yield _grid_part(tile, [place], np.empty(0, np.int64), facts, homes)


def _grid_part(
    tile: TileSamples,
    folders: list[Path],
    hidden: Ints,
    facts: Mapping[str, Any],
    homes: Callable[[], Homes],
) -> Part:
    """Return a part that reads rasters in some folders, without the crops of hidden fields."""
    epsg = np.full(len(tile), tile.grid.epsg, np.int32)
    parcel = np.nan_to_num(read_label(folders, GROUP_RASTER, epsg, tile.x, tile.y))
    parcel_ids = parcel.astype(np.int64)
    is_hidden = np.isin(parcel_ids, hidden)

    def read(name: str, empty: float) -> Floats:
        values = read_label(folders, name, epsg, tile.x, tile.y, empty)
        return np.where(is_hidden, UNLABELLED, values) if name in HIDDEN_RASTERS else values

    return Part(
        name=tile.name,
        year=tile.year,
        grid=tile.grid,
        row=tile.row,
        column_number=tile.column,
        epsg=epsg,
        x=tile.x,
        y=tile.y,
        pixels=tile.pixels,
        parcel=parcel_ids,
        read=read,
        homes=homes,
        facts=facts,
    )


def _table_part(path: Path, labels: Path) -> Part:
    table = read_long_table(path, labels)
    num = len(table.pixels)

    def read(name: str, empty: float) -> npt.NDArray[Any]:
        if name not in table.columns:
            raise InputError(f"{labels} has no column {name}. {did_you_mean(name, table.columns)}")
        return table.columns[name]

    return Part(
        name=path.stem,
        year=table.year,
        grid=None,
        row=np.arange(num, dtype=np.int32),
        column_number=np.zeros(num, np.int32),
        epsg=np.full(num, 4326, np.int32),
        x=_degrees(table.columns, "lon", 180, labels, np.zeros(num)),
        y=_degrees(table.columns, "lat", 90, labels, np.arange(num)),
        pixels=table.pixels,
        parcel=np.zeros(num, np.int64),
        read=read,
        homes=cache(lambda: field_homes([], is_one_numbering=True)),
    )


def _degrees(
    columns: Mapping[str, npt.NDArray[Any]],
    name: str,
    most: int,
    path: Path,
    without: npt.NDArray[Any],
) -> Floats:
    """Return longitudes or latitudes, (N,), or a place of its own for each where there are none."""
    if name not in columns:
        return without.astype(np.float64)
    values = columns[name]
    # Places that collapse would leak.
    if values.dtype.kind not in "iuf" or not (np.abs(values) <= most).all():
        raise InputError(
            f"{path}: column {name} holds {values.dtype} such as {values[0]!r}, expected degrees "
            f"from -{most} to {most} in every row"
        )
    return np.asarray(values, np.float64)


def _words(values: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    """Return text, (N,); nothing where a table says nothing."""
    said = np.array([value is not None for value in values.tolist()])
    return np.where(said, values, "").astype(str)
