"""Tiles are cut from the north-west corner, in whole pixels, the same for every run."""

from datetime import date
from pathlib import Path

import pytest

from tessera_core.errors import SceneError
from tessera_core.ingest.items import StacItem
from tessera_core.ingest.tiling import check_pixel_size, cut_tiles, utm_epsg
from tessera_core.records.files import FileDigest


def item(*bounds: float, epsg: int | None = 32631, known: bool = True) -> StacItem:
    return StacItem(
        scene_id="item",
        collection="sentinel-2-l2a",
        acquired=date(2022, 6, 1),
        epsg=epsg,
        bounds=bounds if known else None,
        lonlat=(3.0, 50.0, 3.1, 50.1),
        orbit="",
        baseline="",
        assets={},
        identity=FileDigest(path="", sha256="", md5="", size=0),
    )


def corners(grids) -> list[tuple[float, float, int, int]]:
    return [(grid.west, grid.north, grid.width, grid.height) for grid in grids]


def test_tiles_start_in_the_north_west_and_run_row_by_row():
    grids = cut_tiles([item(500_000, 5_599_960, 500_060, 5_600_000)], None, 3)

    assert corners(grids) == [
        (500_000, 5_600_000, 3, 3),
        (500_030, 5_600_000, 3, 3),
        (500_000, 5_599_970, 3, 1),
        (500_030, 5_599_970, 3, 1),
    ]
    assert {grid.epsg for grid in grids} == {32631}


def test_the_last_row_and_column_may_be_smaller():
    grids = cut_tiles([item(500_000, 5_599_960, 500_050, 5_600_000)], None, 4)

    assert corners(grids) == [(500_000, 5_600_000, 4, 4), (500_040, 5_600_000, 1, 4)]


def test_tiles_cover_all_items_of_a_zone_together():
    items = [
        item(500_000, 5_599_960, 500_040, 5_600_000),
        item(500_020, 5_599_980, 500_080, 5_600_020),
    ]

    (grid,) = cut_tiles(items, None, 64)

    assert grid.bounds == (500_000, 5_599_960, 500_080, 5_600_020)


def test_items_of_two_zones_give_tiles_in_both():
    items = [
        item(300_000, 5_599_960, 300_040, 5_600_000, epsg=32632),
        item(500_000, 5_599_960, 500_040, 5_600_000, epsg=32631),
    ]

    grids = cut_tiles(items, None, 64)

    assert [(grid.epsg, grid.west) for grid in grids] == [(32631, 500_000), (32632, 300_000)]


def test_edges_between_pixels_are_moved_outwards():
    (grid,) = cut_tiles([item(500_007, 5_599_969, 500_033, 5_599_991)], None, 64)

    assert grid.bounds == (500_000, 5_599_960, 500_040, 5_600_000)


def test_a_box_in_degrees_decides_the_area_and_zone():
    box = (3.02, 50.81, 3.03, 50.82)

    grids = cut_tiles([item(0, 0, 10, 10)], box, 4096)

    (grid,) = grids
    west, south, east, north = grid.bounds
    assert grid.epsg == 32631
    assert (west % 10, north % 10) == (0, 0)
    # 0.01 degrees are about 705 m east-west and 1113 m north-south at 50.8 degrees north.
    assert 700 <= east - west <= 740
    assert 1110 <= north - south <= 1140


def test_tiles_do_not_depend_on_the_order_of_items():
    items = [
        item(500_000, 5_599_960, 500_040, 5_600_000),
        item(499_900, 5_599_960, 499_940, 5_600_000),
        item(300_000, 5_599_960, 300_040, 5_600_000, epsg=32632),
    ]

    assert cut_tiles(items, None, 4) == cut_tiles(items[::-1], None, 4)


@pytest.mark.parametrize("changes", [{"epsg": None}, {"known": False}])
def test_an_item_that_does_not_say_where_it_lies_needs_a_box(changes):
    unplaced = item(0, 0, 10, 10, **changes)

    with pytest.raises(SceneError, match=r"item does not say proj:code .* set ingest\.bbox"):
        cut_tiles([unplaced], None, 64)
    assert cut_tiles([unplaced], (3.0, 50.0, 3.01, 50.01), 4096)


def test_nothing_to_cut_gives_no_tile():
    assert cut_tiles([], None, 64) == []


@pytest.mark.parametrize(
    ("longitude", "latitude", "epsg"),
    [
        (3.0, 50.8, 32631),
        (-180.0, 10.0, 32601),
        (179.9, 10.0, 32660),
        (180.0, 10.0, 32660),
        (32.5, -1.0, 32736),
        (0.0, 0.0, 32631),
        (-0.1, -0.1, 32730),
    ],
)
def test_the_zone_of_a_position(longitude, latitude, epsg):
    assert utm_epsg(longitude, latitude) == epsg


@pytest.mark.parametrize("size", [(20.0, -20.0), (10.0, 10.0), (10.0, -20.0), (-10.0, -10.0)])
def test_only_north_up_pixels_of_10_m_are_accepted(size):
    with pytest.raises(SceneError, match=r"roi\.tiff has pixels of .* expected 10 x -10 m"):
        check_pixel_size(Path("roi.tiff"), *size)
    check_pixel_size(Path("roi.tiff"), 10.0, -10.0)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((0, 0, 1e9, 1e9), r"does not lie in EPSG:32631; expected metres of at most 20000000"),
        ((float("nan"), 0, 10, 10), r"does not lie in EPSG:32631"),
        ((0, 0, float("inf"), 10), r"does not lie in EPSG:32631"),
        (
            (0, 0, 1e7, 1e7),
            r"10,000 x 10,000 km makes 244,140,625 tiles, expected at most 1,000,000",
        ),
    ],
)
def test_an_area_that_no_run_can_read_is_refused_before_it_is_cut(bounds, message):
    with pytest.raises(SceneError, match=message):
        cut_tiles([item(*bounds)], None, 64)


def test_a_box_over_many_zones_is_refused():
    with pytest.raises(SceneError, match=r"ingest\.bbox is 360 degrees wide, expected at most 12"):
        cut_tiles([], (-180, -80, 180, 80), 4096)
