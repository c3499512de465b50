"""Tiles on the grid of their UTM zone."""

import numpy as np
import pytest

from tessera_core.domain.embedding import Embedding
from tessera_core.domain.grid import TileGrid
from tessera_core.errors import RecordError
from tessera_core.export.tiles import ExportedTile, save_tile
from tessera_core.export.zones import owned_pixels, zones_of


def tile(name="t", year=2022, epsg=32631, west=500000.0, north=5000000.0, width=4, height=3):
    grid = TileGrid(epsg=epsg, west=west, north=north, width=width, height=height)
    return ExportedTile(name=name, year=year, grid=grid, num_pixels=1)


def test_a_zone_is_the_smallest_grid_that_holds_its_tiles():
    first = tile(name="a", west=500000, north=5000000)
    second = tile(name="b", west=500100, north=5000050)

    (zone,) = zones_of([second, first])

    assert (zone.group, zone.epsg) == ("utm31", 32631)
    assert (zone.west, zone.north, zone.width, zone.height) == (500000, 5000050, 14, 8)
    assert [(p.tile.name, p.row, p.column) for p in zone.tiles] == [("a", 5, 0), ("b", 0, 10)]


def test_a_southern_tile_lies_in_the_northern_zone_with_negative_northings():
    (zone,) = zones_of([tile(epsg=32731, west=500000, north=9999980)])

    _, y = zone.centres()

    assert zone.epsg == 32631
    assert zone.transform == [10.0, 0.0, 500000.0, 0.0, -10.0, -20.0]
    assert y.tolist() == [-25.0, -35.0, -45.0]


def test_tiles_on_both_sides_of_the_equator_meet_without_gap():
    north = tile(name="n", epsg=32631, north=30.0, height=3)
    south = tile(name="s", epsg=32731, north=10_000_000.0, height=3)

    (zone,) = zones_of([north, south])

    assert zone.height == 6
    assert [placed.row for placed in zone.tiles] == [0, 3]


def test_zones_come_in_order_one_for_each_number():
    zones = zones_of([tile(epsg=32736), tile(epsg=32631), tile(epsg=32636)])

    assert [(zone.group, len(zone.tiles)) for zone in zones] == [("utm31", 1), ("utm36", 2)]


def test_a_shared_offset_from_the_lattice_is_kept():
    first, second = tile(name="a", west=500003.94), tile(name="b", west=500043.94)

    (zone,) = zones_of([first, second])

    assert zone.west == 500003.94
    assert [placed.column for placed in zone.tiles] == [0, 4]


def test_tiles_with_different_offsets_snap_to_multiples_of_ten_metres():
    first, second = tile(name="a", west=500003.94), tile(name="b", west=500047.0)

    (zone,) = zones_of([first, second])

    assert zone.west == 500000.0
    assert [placed.column for placed in zone.tiles] == [0, 5]


def stored(folder, name, has_data, **position):
    """Write a tile whose scale is finite where ``has_data``."""
    has_data = np.asarray(has_data, bool)
    codes = np.where(has_data[..., None], 127, 0).astype(np.int8)
    scale = np.where(has_data, 0.5, np.nan).astype(np.float32)
    grid = tile(width=has_data.shape[1], height=has_data.shape[0], **position).grid
    return save_tile(folder, name, 2022, grid, Embedding(codes=codes, scale=scale))


def test_where_tiles_overlap_the_first_with_data_keeps_the_pixel(tmp_path):
    first = stored(tmp_path, "a", [[1, 1, 0], [1, 0, 1]])
    second = stored(tmp_path, "b", [[1, 1, 1], [1, 0, 1]], west=500010.0)
    (zone,) = zones_of([first, second])

    owned = owned_pixels(tmp_path, zone.of_year(2022), 1)

    # Columns 0 and 1 of b are columns 1 and 2 of a.
    assert owned.tolist() == [[False, True, True], [True, False, True]]


def test_tiles_that_do_not_touch_own_all_their_data(tmp_path):
    first = stored(tmp_path, "a", [[1, 1]])
    second = stored(tmp_path, "b", [[1, 0]], west=500020.0)
    (zone,) = zones_of([first, second])

    assert owned_pixels(tmp_path, zone.of_year(2022), 1).tolist() == [[True, False]]


def test_a_tile_survives_its_manifest_entry():
    original = tile(name="x_1", year=2020, west=500003.94, north=-17.5)

    assert ExportedTile.from_dict(original.to_dict()) == original


@pytest.mark.parametrize("broken", [{"year": None}, {"bounds": [1, 2]}, {"epsg": 4326}])
def test_a_senseless_manifest_entry_is_refused(broken):
    with pytest.raises(RecordError, match="is not a tile"):
        ExportedTile.from_dict(tile().to_dict() | broken)
