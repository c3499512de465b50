import numpy as np

from tessera_core.benchmarks.gather import MappedTile
from tessera_core.domain.grid import TileGrid
from tessera_core.pages.mosaic import (
    embedding_colours,
    latest_year,
    paint,
    place_tiles,
    principal_components,
)
from tessera_core.testing.tiles import make_grid


def mapped(grid: TileGrid, embedding, *, year=2022):
    row, column = np.indices((grid.height, grid.width)).reshape(2, -1).astype(np.int32)
    return MappedTile(
        name="tile",
        year=year, grid=grid, row=row, column=column,
        embedding=np.asarray(embedding, np.float32),
        crop_type=np.zeros(len(row), np.int64),
    )  # fmt: skip


def test_neighbouring_tiles_are_placed_as_they_lie_on_the_ground():
    south_east = make_grid(west=500_050, north=5_599_960)

    placement = place_tiles([make_grid(), south_east])

    assert placement.is_map
    assert placement.offsets == ((0, 0), (4, 5))
    assert (placement.height, placement.width) == (8, 10)


def test_tiles_far_apart_or_in_several_zones_are_packed():
    far = [make_grid(), make_grid(west=600_000)]
    zones = [make_grid(), make_grid(epsg=32632)]

    for placement in (place_tiles(far), place_tiles(zones)):
        assert not placement.is_map
        assert placement.offsets == ((0, 0), (0, 6))
        assert (placement.height, placement.width) == (5, 12)


def test_pixels_are_painted_row_first():
    grid = make_grid()
    tile = mapped(grid, np.zeros((20, 2)))

    picture = paint([tile], place_tiles([grid]), [np.arange(20)])

    assert picture.shape == (4, 5)
    assert picture[1].tolist() == [5, 6, 7, 8, 9]


def test_colours_follow_the_strongest_direction_and_no_data_is_transparent():
    rng = np.random.default_rng(0)
    strength = np.linspace(-1, 1, 20)
    embedding = np.outer(strength, [0, 5, 0, 1]) + 0.01 * rng.normal(size=(20, 4))
    embedding[7] = np.nan

    (colours,), share = embedding_colours([mapped(make_grid(), embedding)])

    assert share > 0.99
    assert colours[7].tolist() == [0, 0, 0, 0]
    red = np.delete(colours[:, 0], 7)
    assert (np.diff(red) >= 0).all()
    assert (np.delete(colours[:, 3], 7) == 1).all()


def test_all_tiles_share_one_colour_scale():
    low = mapped(make_grid(), np.tile([0.0, 0.0, 1.0], (20, 1)))
    high = mapped(make_grid(west=500_050), np.tile([9.0, 0.0, 1.0], (20, 1)))

    (first, second), _ = embedding_colours([low, high])

    assert (first[:, 0] == 0).all()
    assert (second[:, 0] == 1).all()


def test_few_dimensions_leave_colours_empty():
    components, share = principal_components(np.array([[1.0], [3.0], [2.0]]))

    assert components[:, 0].tolist() == [-1, 1, 0]
    assert not components[:, 1:].any()
    assert share == 1


def test_only_the_latest_year_is_drawn():
    tiles = [mapped(make_grid(), np.zeros((20, 2)), year=year) for year in (2021, 2023, 2022)]

    assert [tile.year for tile in latest_year(tiles)] == [2023]
