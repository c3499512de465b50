"""Grids and blocks: metric tiles, and block names that are the same from every tile."""

import numpy as np
import pytest

from tessera_core.domain.grid import TileGrid, block_ids
from tessera_core.errors import SceneError
from tessera_core.testing.tiles import make_grid


def ids(epsg: int, x: list[float], y: list[float], block_size_m: int = 100) -> list[int]:
    codes = np.full(len(x), epsg, np.int32)
    return block_ids(codes, np.array(x), np.array(y), block_size_m).tolist()


def test_bounds_run_from_the_north_west_corner_in_pixels_of_10_m():
    grid = make_grid(west=500_000, north=5_600_000, width=5, height=4)

    assert grid.bounds == (500_000, 5_599_960, 500_050, 5_600_000)


def test_centres_lie_half_a_pixel_inside_and_northings_fall():
    x, y = make_grid(west=500_000, north=5_600_000, width=3, height=2).centres()

    assert x.tolist() == [500_005, 500_015, 500_025]
    assert y.tolist() == [5_599_995, 5_599_985]


@pytest.mark.parametrize(("epsg", "zone"), [(32601, 1), (32631, 31), (32660, 60), (32733, 33)])
def test_the_zone_follows_from_the_code(epsg, zone):
    assert make_grid(epsg=epsg).utm_zone == zone


@pytest.mark.parametrize("epsg", [4326, 3857, 32600, 32661, 32700, 32761])
def test_a_grid_outside_utm_is_refused(epsg):
    with pytest.raises(SceneError, match=rf"EPSG:{epsg} is not a UTM zone .* reproject"):
        make_grid(epsg=epsg)


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (-1, 4)])
def test_a_grid_without_pixels_is_refused(width, height):
    with pytest.raises(SceneError, match=rf"a tile of {width} x {height} pixels holds nothing"):
        make_grid(width=width, height=height)


def test_positions_of_one_block_share_an_id_and_the_next_block_has_another():
    same = ids(32631, [500_000, 500_099.9], [5_600_000, 5_600_099.9])
    other = ids(32631, [500_100, 500_000], [5_600_000, 5_600_100])

    assert same[0] == same[1]
    assert len({*same, *other}) == 3


def test_blocks_are_anchored_to_the_zone_and_not_to_a_tile():
    east = TileGrid(epsg=32631, west=500_000, north=5_600_000, width=30, height=1)
    west = TileGrid(epsg=32631, west=499_870, north=5_600_000, width=30, height=1)
    names = {}
    for grid in (east, west):
        x, _ = grid.centres()
        names[grid.west] = dict(
            zip(x.tolist(), ids(32631, x.tolist(), [5_599_995.0] * len(x)), strict=True)
        )

    shared = names[east.west].keys() & names[west.west].keys()
    assert shared
    assert all(names[east.west][x] == names[west.west][x] for x in shared)


def test_the_same_metres_in_two_zones_or_hemispheres_are_two_blocks():
    blocks = [ids(epsg, [500_000], [5_600_000])[0] for epsg in (32631, 32632, 32731)]

    assert len(set(blocks)) == 3


def test_blocks_on_both_sides_of_the_equator_differ():
    # North zones count northings below the equator as negative.
    north, south = ids(32631, [500_000, 500_000], [5, -5])

    assert north != south
