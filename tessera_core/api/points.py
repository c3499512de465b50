"""Points with attributes from GeoPackage, GeoJSON, GeoParquet, or a table with lon and lat.

A reader for points alone fits a page; a field's polygon is not one pixel, so it is refused.
"""

import json
import sqlite3
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError, did_you_mean

LON_LAT: Final = "OGC:CRS84"
"""Longitude before latitude, on WGS 84: what GeoJSON is, and GeoParquet unless it says else."""

ENVELOPE_SIZES: Final = (0, 32, 48, 48, 64)
"""Bytes between header and geometry in a GeoPackage, by its envelope code."""

GEOMETRIES: Final = (
    "Geometry", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection",
)  # fmt: skip
NO_PLACE: Final = (np.nan, np.nan)
Place = tuple[float, float]
Rows = list[tuple[Place, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """N places with what is known of each."""

    x: npt.NDArray[np.float64]
    """(N,), easting or longitude; NaN for a row without geometry."""

    y: npt.NDArray[np.float64]
    """(N,), northing or latitude; NaN likewise."""

    crs: str = LON_LAT
    """Coordinate system: ``OGC:CRS84`` (longitude, latitude), ``EPSG:32631``, or WKT."""

    columns: Mapping[str, npt.NDArray[Any]]
    """Name -> (N,) values, None or NaN where there is none."""

    def __post_init__(self) -> None:
        """Refuse columns of other lengths and a coordinate system that nobody knows."""
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        lengths = {len(self.x), len(self.y), *map(len, self.columns.values())}
        if len(lengths) > 1 or not len(self.x):
            raise InputError(
                f"points have x, y and columns of lengths {sorted(lengths)}, expected one length "
                "of at least 1"
            )
        try:
            CRS.from_user_input(self.crs)
        except CRSError as error:
            raise InputError(
                f"nobody knows the coordinate system {self.crs[:80]!r}; name one as EPSG:4326"
            ) from error

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.x)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one column (N,); raises InputError where there is none of this name."""
        if name not in self.columns:
            raise InputError(f"points have no column {name!r}. {did_you_mean(name, self.columns)}")
        return self.columns[name]


def open_points(path: str | Path, *, layer: str | None = None) -> Points:
    """Read points and their attributes.

    Args:
        path: ``.gpkg``; ``.geojson`` or ``.json``; ``.parquet`` with a geometry (GeoParquet) or
            columns ``lon`` and ``lat`` in degrees.
        layer: Of a GeoPackage with several.

    Raises:
        InputError: The file is unreadable, has no point, no coordinate system, other geometries
            than points, or several layers of which none is named.
    """
    file = Path(path)
    readers: dict[str, Callable[[Path], Points]] = {
        ".gpkg": lambda file: _geopackage(file, layer),
        ".geojson": _geojson,
        ".json": _geojson,
        ".parquet": _parquet,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"{file} is no file of points, expected one of {', '.join(readers)}")
    try:
        return reader(file)
    except InputError:
        raise
    except (
        OSError, ValueError, LookupError, TypeError, AttributeError, sqlite3.Error, struct.error,
    ) as error:  # fmt: skip
        raise InputError(f"cannot read points of {file}: {error}") from error


def _geopackage(file: Path, layer: str | None) -> Points:
    file.stat()  # SQLite's own message names neither file nor reason
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as base:
        layers = {
            name: (geometry, organisation, code, text)
            for name, geometry, organisation, code, text in base.execute(
                "SELECT g.table_name, g.column_name, s.organization, s.organization_coordsys_id, "
                "s.definition FROM gpkg_geometry_columns g LEFT JOIN gpkg_spatial_ref_sys s "
                "USING (srs_id) ORDER BY g.table_name"
            )
        }
        name = next(iter(layers)) if layer is None and len(layers) == 1 else layer
        if name is None or name not in layers:
            raise InputError(
                f"{file} has layers {', '.join(layers) or 'none'}, got {layer}; name one"
            )
        geometry, organisation, code, text = layers[name]
        if str(organisation or "NONE").upper() == "NONE":
            raise _no_system(f"layer {name} of {file}")
        quoted = name.replace('"', '""')
        cursor = base.execute(f'SELECT * FROM "{quoted}"')  # a name cannot be bound
        names = [column[0] for column in cursor.description]
        rows: Rows = []
        for values in cursor:
            stored = dict(zip(names, values, strict=True))
            rows.append((_geopackage_point(stored.pop(geometry), file), stored))
    is_known = str(organisation).upper() == "EPSG"
    return _points(rows, f"EPSG:{code}" if is_known else str(text), file)


def _geopackage_point(blob: bytes | None, file: Path) -> Place:
    if blob is None:
        return NO_PLACE
    if blob[:2] != b"GP" or (envelope := blob[3] >> 1 & 7) >= len(ENVELOPE_SIZES):
        raise InputError(f"{file} holds a geometry that is none of a GeoPackage; write it anew")
    return _wkb_point(blob[8 + ENVELOPE_SIZES[envelope] :], file)


def _wkb_point(wkb: bytes | None, file: Path) -> Place:
    if wkb is None:
        return NO_PLACE
    order = "<" if wkb[0] else ">"
    kind = (struct.unpack_from(f"{order}I", wkb, 1)[0] & 0xFFFF) % 1000
    if kind != GEOMETRIES.index("Point"):
        _refuse_geometry(GEOMETRIES[kind] if kind < len(GEOMETRIES) else str(kind), file)
    x, y = struct.unpack_from(f"{order}2d", wkb, 5)
    return x, y


def _geojson(file: Path) -> Points:
    stored = json.loads(file.read_text("utf-8"))
    rows: Rows = []
    for feature in stored["features"]:
        shape = feature.get("geometry")
        if shape is not None and shape["type"] != "Point":
            _refuse_geometry(shape["type"], file)
        x, y = NO_PLACE if shape is None else map(float, shape["coordinates"][:2])
        rows.append(((x, y), feature.get("properties") or {}))
    # RFC 7946 knows one system; files from before it name theirs.
    crs = stored["crs"]["properties"]["name"] if stored.get("crs") else LON_LAT
    return _points(rows, crs, file)


def _parquet(file: Path) -> Points:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, partitioning=None)
    except pa.ArrowInvalid as error:
        raise InputError(f"cannot read points of {file}: {error}") from error
    names = table.column_names
    about = (table.schema.metadata or {}).get(b"geo")
    if about is not None:
        told = json.loads(about)
        geometry = told["primary_column"]
        crs = _geoparquet_crs(told["columns"][geometry], file)
        places = [_wkb_point(wkb, file) for wkb in table[geometry].to_pylist()]
        table = table.drop_columns([geometry])
    elif {"lon", "lat"} <= set(names):
        crs = LON_LAT
        columns = [table[name].to_pylist() for name in ("lon", "lat")]
        places = [NO_PLACE if None in place else place for place in zip(*columns, strict=True)]
    else:
        raise _no_system(f"{file} (columns {', '.join(names)})")
    return _points(list(zip(places, table.to_pylist(), strict=True)), crs, file)


def _geoparquet_crs(column: Mapping[str, Any], file: Path) -> str:
    if column.get("encoding") != "WKB":
        raise InputError(f"{file} encodes geometry as {column.get('encoding')}, expected WKB")
    if "crs" not in column:
        return LON_LAT
    if column["crs"] is None:
        raise _no_system(str(file))
    named = column["crs"].get("id")
    return f"{named['authority']}:{named['code']}" if named else json.dumps(column["crs"])


def _points(rows: Rows, crs: str, file: Path) -> Points:
    if not rows:
        raise InputError(f"{file} holds no feature, expected points")
    x, y = np.array([place for place, _ in rows], np.float64).T
    names: Iterable[str] = dict.fromkeys(name for _, stored in rows for name in stored)
    columns = {}
    for name in names:
        columns[name] = np.empty(len(rows), object)
        columns[name][:] = [stored.get(name) for _, stored in rows]
    try:
        return Points(x=x, y=y, crs=crs, columns=columns)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _no_system(what: str) -> InputError:
    return InputError(
        f"{what} has no coordinate system, so its numbers are no places; write one into the file, "
        "or give a Parquet table columns lon and lat in degrees"
    )


def _refuse_geometry(kind: str, file: Path) -> None:
    raise InputError(
        f"{file} holds a {kind}, expected points: one pixel answers for each. Take a point inside "
        "each field, and keep the field's id as a column to group by"
    )
