"""Points come in alike from every format, or are refused by name."""

import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera_core.api.points import Points, open_points
from tessera_core.errors import InputError
from tessera_core.testing.points import (
    labelled_points,
    to_lon_lat,
    write_geojson,
    write_geopackage,
    write_geoparquet,
)

PLACES, KNOWN = labelled_points(7, seed=1)
DEGREES = to_lon_lat(PLACES)


def assert_same(points: Points, places, crs):
    assert points.crs == crs
    assert list(zip(points.x, points.y, strict=True)) == places
    assert points.columns["crop"].tolist() == [each["crop"] for each in KNOWN]
    assert points.columns["field"].tolist() == [each["field"] for each in KNOWN]


def test_a_geopackage_gives_places_in_its_own_system(tmp_path):
    file = write_geopackage(tmp_path / "p.gpkg", PLACES, KNOWN)

    assert_same(open_points(file), PLACES, "EPSG:32631")


def test_geojson_is_in_degrees(tmp_path):
    file = write_geojson(tmp_path / "p.geojson", DEGREES, KNOWN)

    assert_same(open_points(file), DEGREES, "OGC:CRS84")


def test_geojson_from_before_the_standard_names_its_system(tmp_path):
    file = write_geojson(tmp_path / "p.json", PLACES, KNOWN)
    urn = "urn:ogc:def:crs:EPSG::32631"
    stored = json.loads(file.read_text()) | {"crs": {"type": "name", "properties": {"name": urn}}}
    file.write_text(json.dumps(stored))

    assert_same(open_points(file), PLACES, urn)


def test_geoparquet_is_in_degrees_unless_it_says_else(tmp_path):
    plain = write_geoparquet(tmp_path / "p.parquet", DEGREES, KNOWN)
    named = {"id": {"authority": "EPSG", "code": 32631}}
    other = write_geoparquet(tmp_path / "q.parquet", PLACES, KNOWN, crs=named)

    assert_same(open_points(plain), DEGREES, "OGC:CRS84")
    assert_same(open_points(other), PLACES, "EPSG:32631")


def test_a_table_with_lon_and_lat_needs_no_geometry(tmp_path):
    rows = [{"lon": lon, "lat": lat, **known}
            for (lon, lat), known in zip(DEGREES, KNOWN, strict=True)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")

    assert_same(open_points(tmp_path / "p.parquet"), DEGREES, "OGC:CRS84")


@pytest.mark.parametrize("write", [write_geopackage, write_geojson, write_geoparquet])
def test_a_row_without_geometry_is_kept_and_lies_nowhere(tmp_path, write):
    suffix = {write_geopackage: "gpkg", write_geojson: "geojson", write_geoparquet: "parquet"}
    file = write(tmp_path / f"p.{suffix[write]}", [None, *PLACES[1:]], KNOWN)

    points = open_points(file)

    assert np.isnan(points.x).tolist() == [True] + [False] * 6


def test_no_coordinate_system_is_refused(tmp_path):
    package = write_geopackage(tmp_path / "p.gpkg", PLACES, KNOWN, epsg=None)
    parquet = write_geoparquet(tmp_path / "p.parquet", PLACES, KNOWN, crs=None)
    pq.write_table(pa.Table.from_pylist(KNOWN), tmp_path / "q.parquet")

    for file in (package, parquet, tmp_path / "q.parquet"):
        with pytest.raises(InputError, match=rf"{file.name}.* has no coordinate system"):
            open_points(file)


def test_an_unknown_coordinate_system_is_refused(tmp_path):
    named = {"id": {"authority": "EPSG", "code": 1}}
    file = write_geoparquet(tmp_path / "p.parquet", PLACES, KNOWN, crs=named)

    with pytest.raises(InputError, match="coordinate system 'EPSG:1'"):
        open_points(file)


def test_polygons_are_refused_with_what_to_do(tmp_path):
    file = write_geojson(tmp_path / "p.geojson", DEGREES, KNOWN)
    file.write_text(file.read_text().replace('"Point"', '"Polygon"'))

    with pytest.raises(InputError, match=r"holds a Polygon, expected points.*keep the field's id"):
        open_points(file)


def test_a_binary_polygon_is_refused_too(tmp_path):
    pq.write_table(
        pa.table({"geometry": [struct.pack("<BI", 1, 3)]}).replace_schema_metadata(
            {"geo": '{"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}'}
        ),
        tmp_path / "p.parquet",
    )

    with pytest.raises(InputError, match="holds a Polygon, expected points"):
        open_points(tmp_path / "p.parquet")


def test_of_several_layers_one_has_to_be_named(tmp_path):
    file = write_geopackage(tmp_path / "p.gpkg", PLACES, KNOWN)
    write_geopackage(file, PLACES[:2], KNOWN[:2], layer="wells")

    with pytest.raises(InputError, match="layers points, wells, got None"):
        open_points(file)
    assert len(open_points(file, layer="wells")) == 2


@pytest.mark.parametrize("name", ["p.gpkg", "p.geojson", "p.parquet"])
def test_a_broken_or_missing_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"cannot read points of .*{name}"):
        open_points(tmp_path / name)
    (tmp_path / name).write_bytes(b"no such format at all")
    with pytest.raises(InputError, match=rf"cannot read points of .*{name}"):
        open_points(tmp_path / name)


def test_a_format_that_nobody_reads_is_named(tmp_path):
    with pytest.raises(InputError, match=r"expected one of \.gpkg, \.geojson"):
        open_points(tmp_path / "p.shp")


def test_a_missing_column_is_named_with_the_closest(tmp_path):
    points = open_points(write_geojson(tmp_path / "p.geojson", DEGREES, KNOWN))

    with pytest.raises(InputError, match=r"no column 'crops'\. Did you mean 'crop'"):
        points.column("crops")
