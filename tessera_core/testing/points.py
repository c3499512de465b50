"""Labelled points, and an export whose embeddings tell the labels apart."""

import json
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tessera_core.domain.embedding import Embedding, quantise
from tessera_core.domain.grid import TileGrid
from tessera_core.export.config import ExportConfig
from tessera_core.export.store import root_attributes, write_store
from tessera_core.export.tiles import EXPORT_KIND, save_tile
from tessera_core.export.zones import zones_of
from tessera_core.records.manifest import write_manifest

GRID: Final = TileGrid(epsg=32631, west=500_000, north=5_600_000, width=80, height=80)
"""5 x 5 blocks of 160 m."""

PIXELS_PER_BLOCK: Final = 16
DIMENSIONS: Final = 6
EXPORT_SETTINGS: Final = ExportConfig(batch_size=64, bfloat16=False, chunk_size=16, shard_size=32)
Geometry = tuple[float, float] | None
Properties = Sequence[Mapping[str, Any]]


def checkerboard() -> npt.NDArray[np.int64]:
    """Return the class of every pixel of ``GRID`` (row, column): 0 or 1, block by block."""
    row, column = np.indices((GRID.height, GRID.width)) // PIXELS_PER_BLOCK
    return np.asarray((row + column) % 2, np.int64)


def checkerboard_embedding(seed: int, spread: float = 0.5) -> Embedding:
    """Return embeddings of ``GRID`` that lie around one mean per class; row 0 has no data."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(0).normal(size=(2, DIMENSIONS))
    noise = rng.normal(size=(GRID.height, GRID.width, DIMENSIONS)) * spread
    values = (means[checkerboard()] + noise).astype(np.float32)
    values[0] = np.nan
    return quantise(values)


def write_export(folder: Path, embedding: Embedding, year: int = 2022) -> Path:
    """Write a published export of one tile on ``GRID``, NPY and Zarr; return the folder."""
    tile = save_tile(folder, "31UDS", year, GRID, embedding)
    dimensions = embedding.codes.shape[-1]
    attributes = root_attributes(
        model="models:/tessera/3",
        dimensions=dimensions,
        source_data=["file:data/scenes#sentinel-2-l2a"],
        build_version="0.1.0",
    )
    write_store(folder, zones_of([tile]), [year], EXPORT_SETTINGS, attributes)
    facts = {"dimensions": dimensions, "years": [year], "tiles": [tile.to_dict()]}
    write_manifest(folder, EXPORT_KIND, facts)
    return folder


def labelled_points(num: int, seed: int) -> tuple[list[Geometry], list[dict[str, Any]]]:
    """Return places in EPSG:32631 within ``GRID``, and crop and field of each."""
    rng = np.random.default_rng(seed)
    row, column = rng.integers(1, GRID.height, num), rng.integers(0, GRID.width, num)
    x, y = GRID.centres()
    places: list[Geometry] = list(zip(x[column].tolist(), y[row].tolist(), strict=True))
    crops = np.array(["maize", "wheat"])[checkerboard()[row, column]].tolist()
    fields = (row // PIXELS_PER_BLOCK * 10 + column // PIXELS_PER_BLOCK).tolist()
    known = zip(crops, fields, strict=True)
    return places, [{"crop": crop, "field": field} for crop, field in known]


def to_lon_lat(places: Sequence[Geometry]) -> list[Geometry]:
    """Return places of EPSG:32631 in degrees."""
    from rasterio.warp import transform

    known = [place for place in places if place is not None]
    moved = transform("EPSG:32631", "OGC:CRS84", *zip(*known, strict=True))
    degrees = iter(zip(*moved, strict=True))
    return [None if place is None else next(degrees) for place in places]


def write_geojson(path: Path, places: Sequence[Geometry], properties: Properties) -> Path:
    """Write places in degrees."""
    features = [
        {
            "type": "Feature",
            "geometry": place and {"type": "Point", "coordinates": list(place)},
            "properties": dict(known),
        }
        for place, known in zip(places, properties, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    return path


def write_geoparquet(
    path: Path, places: Sequence[Geometry], properties: Properties, **column: Any
) -> Path:
    """Write places as WKB; ``column`` adds to what the file says of them, as ``crs=None``."""
    table = pa.Table.from_pylist([dict(known) for known in properties])
    table = table.append_column(
        "geometry", pa.array([place and wkb_point(place) for place in places])
    )
    about = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", **column}}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(about)}), path)
    return path


def write_geopackage(
    path: Path,
    places: Sequence[Geometry],
    properties: Properties,
    *,
    epsg: int | None = 32631,
    layer: str = "points",
) -> Path:
    """Write, or add to, a GeoPackage: the three tables that say what it holds, and a layer."""
    names = list(properties[0])
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(
            "CREATE TABLE IF NOT EXISTS gpkg_spatial_ref_sys "
            "(srs_id INTEGER, organization TEXT, organization_coordsys_id INTEGER, definition TEXT)"
        )
        base.execute(
            "CREATE TABLE IF NOT EXISTS gpkg_geometry_columns "
            "(table_name TEXT, column_name TEXT, srs_id INTEGER)"
        )
        known = (-1, "NONE", -1, "undefined") if epsg is None else (epsg, "EPSG", epsg, "")
        base.execute("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?)", known)
        base.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?)", (layer, known[0]))
        base.execute(f"CREATE TABLE {layer} (geom BLOB, {', '.join(names)})")
        marks = ", ".join("?" * (len(names) + 1))
        for place, values in zip(places, properties, strict=True):
            # Version 0, flags: little-endian with an envelope of four numbers.
            blob = place and (
                struct.pack("<2sBBi4d", b"GP", 0, 0b11, known[0], *place, *place) + wkb_point(place)
            )
            row = (blob, *(values[name] for name in names))
            base.execute(f"INSERT INTO {layer} VALUES ({marks})", row)
    return path


def wkb_point(place: tuple[float, float]) -> bytes:
    """Return a point as little-endian WKB."""
    return struct.pack("<BI2d", 1, 1, *place)
