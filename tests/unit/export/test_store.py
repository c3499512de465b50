"""The Zarr store as the field's clients expect it."""

import json

import numpy as np
import pytest
import zarr

from tessera_core.export.store import shards_reached
from tessera_core.export.zones import zones_of
from tests.unit.export.built import DIMENSIONS, GRIDS


def npy(folder, name, year):
    tile = folder / "npy" / name / str(year)
    return np.load(tile / f"{name}.npy"), np.load(tile / f"{name}_scales.npy")


def test_a_client_finds_each_tile_by_coordinate_bit_for_bit(export):
    root = zarr.open_consolidated(export / "embeddings.zarr", mode="r")

    for (name, year), grid in GRIDS.items():
        group = root[f"utm{grid.utm_zone:02d}"]
        northing = grid.north - (10_000_000 if grid.epsg > 32700 else 0)
        time = group["time"][:].tolist().index(year)
        row = group["y"][:].tolist().index(northing - 5)
        column = group["x"][:].tolist().index(grid.west + 5)
        window = (slice(row, row + grid.height), slice(column, column + grid.width))
        codes, scales = npy(export, name, year)
        assert np.array_equal(group["scales"][time][window], np.nan_to_num(scales, nan=np.inf))
        assert np.array_equal(group["embeddings"][time, :, *window], np.moveaxis(codes, -1, 0))


def test_the_layout_is_that_of_the_geoemb_convention(export):
    root = zarr.open_consolidated(export / "embeddings.zarr", mode="r")

    codes, scales = root["utm31/embeddings"], root["utm31/scales"]

    assert root.attrs["geoemb:type"] == "pixel"
    assert root.attrs["geoemb:dimensions"] == DIMENSIONS
    assert root.attrs["geoemb:spatial_layout"] == "utm_zones"
    assert root.attrs["geoemb:quantization"]["scale"]["array_name"] == "scales"
    assert sorted(root.group_keys()) == ["utm31", "utm36"]
    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    assert codes.metadata.dimension_names == ("time", "band", "y", "x")
    assert scales.metadata.dimension_names == ("time", "y", "x")
    assert (codes.chunks, codes.shards) == ((1, DIMENSIONS, 8, 8), (1, DIMENSIONS, 16, 16))
    assert (scales.chunks, scales.shards) == ((1, 8, 8), (1, 16, 16))
    assert root["utm31/time"][:].tolist() == root["utm36/time"][:].tolist() == [2021, 2022]
    assert root["utm31/band"][:].tolist() == list(range(DIMENSIONS))


def test_each_zone_says_where_it_lies(export):
    root = zarr.open_consolidated(export / "embeddings.zarr", mode="r")

    attributes = dict(root["utm36"].attrs)

    assert attributes["proj:code"] == "EPSG:32636"
    assert attributes["spatial:transform"] == [10.0, 0.0, 300000.0, 0.0, -10.0, -1000.0]
    assert attributes["spatial:shape"] == [7, 9]
    assert attributes["spatial:bbox"] == [300000.0, -1070.0, 300090.0, -1000.0]
    assert root["utm36/y"][:2].tolist() == [-1005.0, -1015.0]
    assert root["utm36/x"][:2].tolist() == [300005.0, 300015.0]


def test_every_pixel_without_an_embedding_is_plus_infinity_and_code_zero(export):
    zone = zarr.open_group(export / "embeddings.zarr", mode="r")["utm31"]
    scales, codes = zone["scales"][:], zone["embeddings"][:]

    empty = ~np.isfinite(scales)

    assert empty.sum() > 100
    assert (scales[empty] == np.inf).all()
    assert not np.moveaxis(codes, 1, -1)[empty].any()


def test_only_shards_that_hold_a_tile_are_written(export):
    shards = export / "embeddings.zarr" / "utm31" / "scales" / "c"

    written = {path.relative_to(shards).as_posix() for path in shards.rglob("*") if path.is_file()}

    # In 2021 there is only the eastern tile: rows 6..23, columns 30..49.
    assert {name for name in written if name.startswith("0/")} == {
        f"0/{row}/{column}" for row in (0, 1) for column in (1, 2, 3)
    }


def test_the_codec_is_blosc_zstd_level_three(export):
    metadata = json.loads((export / "embeddings.zarr/utm31/scales/zarr.json").read_text())

    (sharding,) = metadata["codecs"]
    blosc = sharding["configuration"]["codecs"][1]

    assert (sharding["name"], metadata["fill_value"]) == ("sharding_indexed", "Infinity")
    assert blosc["configuration"]["cname"] == "zstd"
    assert blosc["configuration"]["clevel"] == 3
    assert blosc["configuration"]["typesize"] == 4


def test_the_same_tiles_give_the_same_bytes(make_export):
    first, _ = make_export(name="first")
    second, _ = make_export(name="second")

    files = [path.relative_to(first) for path in sorted(first.rglob("*")) if path.is_file()]

    assert len(files) > 30
    assert [
        path for path in files if (first / path).read_bytes() != (second / path).read_bytes()
    ] == []


@pytest.mark.parametrize(("shard_size", "expected"), [(64, 1), (16, 8), (10, 15)])
def test_a_shard_is_reached_by_every_tile_that_touches_it(make_export, shard_size, expected):
    _, tiles = make_export()
    (zone, _) = zones_of(tiles)

    reached = shards_reached(zone.of_year(2022), shard_size)

    assert len(reached) == expected
    assert {tile.tile.name for inside in reached.values() for tile in inside} == {"east", "west"}
