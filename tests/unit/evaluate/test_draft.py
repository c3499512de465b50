"""From parts to units: which d-pixels, in which group."""

import numpy as np
import pytest

from tessera_core.benchmarks.sources import read_parts
from tessera_core.benchmarks.units import draft_units, examples_of
from tessera_core.domain.scores import Kind
from tessera_core.errors import InputError
from tessera_core.records.benchmarks import (
    DataSource,
    Group,
    Source,
    Split,
    SplitRule,
    Truth,
)
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.tables import long_labels, long_series, write_long_table
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.evaluate.planted import SETTINGS, make_benchmark

TILES = DataSource(kind=Source.TILES, path="mine")
BLOCKS = Group(block_size_m=160)
GRID = make_grid(west=499_200, north=5_600_000, width=32, height=16)
ROW, COLUMN = np.indices((16, 32))


@pytest.fixture
def parts(tmp_path):
    """Return a reader of tiles with fields of 5 x 5 pixels that cross patches and blocks."""

    def read(*names, facts=None, **grids):
        for name, grid in ({name: GRID for name in names} | grids).items():
            tile = make_tile(name=name, grid=grid)
            folder = tmp_path / "mine" / name
            write_tile_directory(
                folder, tile_arrays(tile), {**tile_document(grid, tile.year), **(facts or {})}
            )
            east = COLUMN + int(grid.west - GRID.west) // 10
            parcel = (1 + ROW // 5 * 13 + east // 5).astype(np.int32)
            crops = (1 + parcel % 3).astype(np.uint16)
            write_raster(folder / "parcel_id.tif", parcel, grid, nodata=0)
            write_raster(folder / "crop_type.tif", crops, grid, nodata=0)
        return list(read_parts(TILES, tmp_path, [], tmp_path))

    return read


def units_of(part, benchmark):
    draft = draft_units(part, benchmark, SETTINGS)
    return draft, examples_of(draft, part, benchmark, np.zeros((len(draft.rows), 2), np.float32))


def test_no_field_gives_labels_to_patches_of_two_blocks_in_whatever_tile(parts):
    shifted = make_grid(west=GRID.west + 320, north=GRID.north, width=32, height=16)
    benchmark = make_benchmark(Kind.MULTILABEL, data=TILES, group=BLOCKS)

    found = []
    for part in parts("a", b=shifted):
        draft, units = units_of(part, benchmark)
        assert (np.diff(draft.unit) >= 0).all()
        assert set(draft.unit) == set(range(len(units)))
        found.append((part.parcel[draft.rows], units.group[draft.unit]))

    parcel, group = (np.concatenate(each) for each in zip(*found, strict=True))
    assert [len(np.unique(each)) for _, each in found] == [2, 2]
    assert max(len(np.unique(group[parcel == one])) for one in np.unique(parcel)) == 1


def test_a_patch_is_the_same_place_whatever_is_labelled_in_it(parts, tmp_path):
    (part,) = parts("a")
    benchmark = make_benchmark(Kind.MULTILABEL, data=TILES, group=BLOCKS)
    _, before = units_of(part, benchmark)
    crops = np.where(COLUMN % 4 == 0, 0, 1).astype(np.uint16)
    write_raster(tmp_path / "mine/a/crop_type.tif", crops, GRID, nodata=0)

    _, after = units_of(part, benchmark)

    assert set(after.position) <= set(before.position)
    assert len(after) > 1


def test_every_tile_can_be_a_group_of_its_own(parts):
    benchmark = make_benchmark(data=TILES, group=Group(tile=True))

    groups = [set(units_of(part, benchmark)[1].group) for part in parts("a", "b")]

    assert [len(each) for each in groups] == [1, 1]
    assert groups[0] != groups[1]


def test_regions_and_given_sides_come_from_the_tile(parts):
    (part,) = parts("a", facts={"country": "AT", "split": "test"})
    split = Split(rule=SplitRule.GIVEN, column="split")
    benchmark = make_benchmark(data=TILES, region="country", split=split)

    _, units = units_of(part, benchmark)

    assert set(units.region) == {"AT"}
    assert set(units.given) == {"test"}


def test_a_share_of_the_chips_is_whole_chips(parts):
    (part,) = parts("a")
    whole = make_benchmark(Kind.SEGMENTATION, data=TILES, group=BLOCKS)
    some = make_benchmark(Kind.SEGMENTATION, data=TILES, group=BLOCKS, share_of_patches=0.5)

    every, half = (draft_units(part, each, SETTINGS) for each in (whole, some))

    assert every.chip.shape == (32, 4, 4)
    assert 0 < len(half.chip) < 32
    assert np.array_equal(np.sort(half.chip.ravel()), np.arange(16 * len(half.chip)))


def test_points_of_a_table_are_grouped_by_column_and_known_by_their_place(tmp_path):
    write_long_table(tmp_path, long_series(6), long_labels(6))
    data = DataSource(kind=Source.TABLE, path="points.parquet", labels="points-labels.parquet")
    benchmark = make_benchmark(
        data=data,
        truth=Truth(column="label"),
        group=Group(column="position"),
        region="group",
    )
    (part,) = read_parts(data, tmp_path, [], tmp_path)

    _, units = units_of(part, benchmark)

    assert units.group.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(np.unique(units.position)) == 3
    assert set(units.region) == {"survey 0", "survey 1", "survey 2"}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"label": ["wheat"] * 6}, "column label of points holds no numbers"),
        ({"label": [1.0, 2, np.inf, 1, 2, 1]}, "1 of 6 labels of points are infinite"),
        ({"position": [0.0, 0, 1, 1, None, None]}, "2 of 6 rows of points say no position"),
    ],
)
def test_labels_that_would_be_misread_are_refused(tmp_path, labels, message):
    write_long_table(tmp_path, long_series(6), {**long_labels(6), **labels})
    data = DataSource(kind=Source.TABLE, path="points.parquet", labels="points-labels.parquet")
    benchmark = make_benchmark(
        data=data, truth=Truth(column="label"), group=Group(column="position"), region=None
    )
    (part,) = read_parts(data, tmp_path, [], tmp_path)

    with pytest.raises(InputError, match=message):
        draft_units(part, benchmark, SETTINGS)


@pytest.mark.parametrize("lon", [["east"] * 6, [9e18] * 6, [None] + [3.0] * 5])
def test_places_that_are_none_are_refused(tmp_path, lon):
    write_long_table(tmp_path, long_series(6), {**long_labels(6), "lon": lon})
    data = DataSource(kind=Source.TABLE, path="points.parquet", labels="points-labels.parquet")

    with pytest.raises(InputError, match=r"column lon holds .* expected degrees from -180 to 180"):
        list(read_parts(data, tmp_path, [], tmp_path))


def test_a_field_is_at_home_in_the_middle_of_it_and_in_one_tile(parts):
    shifted = make_grid(west=GRID.west + 320, north=GRID.north, width=32, height=16)

    east, west = parts("a", b=shifted)

    homes = [set(part.homes().within(part.grid)[0].tolist()) for part in (east, west)]
    assert not homes[0] & homes[1]
    ids, row, column = east.homes().within(east.grid)
    assert (ids[0], row[0], column[0]) == (1, 2, 2)
