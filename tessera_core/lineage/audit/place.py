"""Where one pixel lies in an export: its tile, its row and column, the files that hold it.

The layout of exports is stated here too: an audit does not ask what it audits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import FIRST_UTM_SOUTH
from tessera_core.errors import InputError, RecordError
from tessera_core.records.files import read_json
from tessera_core.records.form import NAME, check_form
from tessera_core.records.manifest import Manifest

STORE: Final = "embeddings.zarr"
CODES: Final = "embeddings"
SCALES: Final = "scales"
METADATA: Final = "zarr.json"
SOUTHERN_NORTHING_M: Final = 10_000_000
HALVES: Final = 1e-6
"""Of a pixel: decides what lies halfway, as the exporter's rounding does."""

WGS84: Final = "EPSG:4326"

TILE: Final = {"tile!": NAME, "year!": int, "epsg!": int, "bounds!": [float]}
YEARS: Final = range(1900, 9999)
"""What a calendar can hold, and the day after its last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A pixel of one tile and year of an export."""

    tile: str
    """Tile name."""

    year: int
    """Calendar year."""

    epsg: int
    """CRS of the tile."""

    row: int
    """Pixel row in the tile."""

    column: int
    """Pixel column in the tile."""

    x: float
    """Easting of the pixel centre, metres."""

    y: float
    """Northing of the pixel centre, metres."""

    @property
    def codes(self) -> str:
        """Its tile's codes in the export."""
        return f"npy/{self.tile}/{self.year}/{self.tile}.npy"

    @property
    def scales(self) -> str:
        """Its tile's scales in the export."""
        return f"npy/{self.tile}/{self.year}/{self.tile}_scales.npy"

    @property
    def grid(self) -> str:
        """Its tile's grid file in the export."""
        return f"npy/{self.tile}/{self.year}/{self.tile}_grid.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The same pixel in the export's store."""

    group: str
    """Group of its UTM zone."""

    time: int
    """Index of the year."""

    row: int
    """Row in the zone's grid."""

    column: int
    """Column in the zone's grid."""

    files: tuple[str, ...]
    """Shards that hold it and the metadata that place it, in the export."""


def places_of(manifest: Manifest, longitude: float, latitude: float) -> list[Place]:
    """Return the pixel in every tile and year that holds it, in order of tile and year.

    Args:
        manifest: The export's.
        longitude: Degrees east, WGS 84.
        latitude: Degrees north, WGS 84.

    Raises:
        InputError: No tile holds it, or it is no place on Earth.
    """
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise InputError(
            f"--pixel {longitude} {latitude} is no place; expected longitude -180..180 and then "
            "latitude -90..90, in degrees"
        )
    tiles = _tiles(manifest)
    positions = {
        epsg: _project(longitude, latitude, WGS84, f"EPSG:{epsg}")
        for epsg in sorted({int(tile["epsg"]) for tile in tiles})
    }
    found = [
        place for tile in tiles if (place := _inside(tile, *positions[int(tile["epsg"])]))
    ]  # fmt: skip
    if not found:
        raise InputError(
            f"the pixel at {longitude} {latitude} is outside of the export, whose {len(tiles)} "
            f"tiles lie within {_extent(tiles)}; the order is longitude, latitude"
        )
    return sorted(found, key=lambda place: (place.tile, place.year))


def chunk_of(place: Place, export: Path, manifest: Manifest) -> Chunk | None:
    """Return where a pixel lies in the store; None where the export has no store.

    Raises:
        RecordError: The store's metadata cannot be read.
    """
    group = f"utm{place.epsg % 100:02d}"
    zone, codes, scales = (
        f"{STORE}/{group}/{part}{METADATA}" for part in ("", f"{CODES}/", f"{SCALES}/")
    )
    listed = {entry.path for entry in manifest.files}
    if zone not in listed:
        return None
    try:
        transform = read_json(export / zone)["attributes"]["spatial:transform"]
        shards = {
            name: read_json(export / path)["chunk_grid"]["configuration"]["chunk_shape"]
            for name, path in ((CODES, codes), (SCALES, scales))
        }
        is_south = place.epsg >= FIRST_UTM_SOUTH
        northing = place.y - SOUTHERN_NORTHING_M * is_south
        # Tiles off the zone's grid were moved to its nearest pixel; halves go north and east.
        row = floor((transform[5] - northing) / TILE_RESOLUTION_M - HALVES)
        column = floor((place.x - transform[2]) / TILE_RESOLUTION_M + HALVES)
        time = sorted(manifest.facts["years"]).index(place.year)
        indices = {
            CODES: (time, 0, row // shards[CODES][2], column // shards[CODES][3]),
            SCALES: (time, row // shards[SCALES][1], column // shards[SCALES][2]),
        }
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise RecordError(f"{export / zone} is not the metadata of a zone: {error!r}") from error
    where = {
        name: f"{STORE}/{group}/{name}/c/{'/'.join(map(str, index))}"
        for name, index in indices.items()
    }
    files = (*(path for path in where.values() if path in listed), zone, codes, scales)
    return Chunk(group=group, time=time, row=row, column=column, files=files)


def read_tile_pixel(place: Place, codes: Path, scales: Path) -> tuple[npt.NDArray[np.int8], float]:
    """Return codes (dimension,) and scale from a tile's arrays; NaN = no data."""
    try:
        scale = float(_open(scales)[place.row, place.column])
        return np.array(_open(codes)[place.row, place.column], np.int8), scale
    except (IndexError, TypeError, ValueError) as error:
        raise RecordError(f"{codes} or its scales hold no such pixel: {error}") from error


def read_chunk_pixel(chunk: Chunk, export: Path) -> tuple[npt.NDArray[np.int8], float]:
    """Return codes (dimension,) and scale from the store; +inf = no data."""
    import zarr

    values = []
    for name in (CODES, SCALES):
        place = export / STORE / chunk.group / name
        try:
            array = zarr.open_array(place, mode="r")
            values.append(np.asarray(array[chunk.time, ..., chunk.row, chunk.column]))
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise RecordError(f"cannot read the pixel in {place}: {error}") from error
    return values[0].astype(np.int8), float(values[1])


def _open(path: Path) -> npt.NDArray[Any]:
    try:
        stored: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecordError(f"cannot read {path}: {error}") from error
    return stored


def _tiles(manifest: Manifest) -> Sequence[Mapping[str, Any]]:
    """Return what an export's manifest says of its tiles; raises RecordError for nonsense."""
    tiles: Sequence[Mapping[str, Any]] = manifest.facts.get("tiles") or []
    check_form(tiles, [TILE], "the export's manifest", "facts.tiles")
    for tile in tiles:
        if len(tile["bounds"]) != 4 or tile["year"] not in YEARS:
            raise RecordError(
                f"the export's manifest: tile {tile['tile']} has year {tile['year']} and bounds "
                f"{tile['bounds']}, expected a year and west, south, east, north"
            )
    return tiles


def _inside(tile: Mapping[str, Any], x: float, y: float) -> Place | None:
    west, south, east, north = (float(edge) for edge in tile["bounds"])
    if not (west <= x < east and south < y <= north):
        return None
    size = TILE_RESOLUTION_M
    row, column = floor((north - y) / size), floor((x - west) / size)
    return Place(
        tile=str(tile["tile"]),
        year=int(tile["year"]),
        epsg=int(tile["epsg"]),
        row=row,
        column=column,
        x=west + size * (column + 0.5),
        y=north - size * (row + 0.5),
    )


def _project(first: float, second: float, source: str, target: str) -> tuple[float, float]:
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    try:
        xs, ys = transform(source, target, [first], [second])
    except CRSError as error:
        raise RecordError(f"the export's manifest: {source} or {target} is no CRS") from error
    return float(xs[0]), float(ys[0])


def _extent(tiles: Sequence[Mapping[str, Any]]) -> str:
    """Return the corners that all tiles lie within, in degrees."""
    corners = list(_corners(tiles))
    if not corners:
        return "nothing"
    (west, east), (south, north) = (
        (min(values), max(values)) for values in zip(*corners, strict=True)
    )
    return f"{west:.4f} {south:.4f} to {east:.4f} {north:.4f}"


def _corners(tiles: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, float]]:
    for tile in tiles:
        west, south, east, north = tile["bounds"]
        for x, y in ((west, south), (east, north), (west, north), (east, south)):
            yield _project(x, y, f"EPSG:{tile['epsg']}", WGS84)
