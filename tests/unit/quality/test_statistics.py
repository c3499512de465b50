"""One pass over a tile: known tiles, known numbers."""

import dataclasses
import pickle
from functools import partial

import numpy as np
import pytest

from tessera_core.domain.bands import S2_NAMES
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import SceneClass
from tessera_core.errors import RecordError
from tessera_core.quality.statistics import TileMeasures, measure_tile
from tessera_core.quality.tables import statistics_table, tables_of
from tests.unit.quality.planted import healthy_parts, rewrite, rewrite_scenes, store


def measure(folder, num_sample_rows=30, seed=11) -> TileMeasures:
    return measure_tile(folder, num_sample_rows=num_sample_rows, seed=seed)


@pytest.fixture
def two_pixels():
    """Return a tile of one row and two columns whose every number can be counted by hand.

    Left: clear on days 10 and 200. Right: clear on day 10 only, no data on day 200.
    """
    reflectance = np.zeros((3, 1, 2, 10), np.uint16)
    reflectance[0] = 1000
    reflectance[0, 0, :, S2_NAMES.index("B08")] = 3000
    reflectance[1] = 9000
    reflectance[2, 0, 0] = 2000
    clear, cloud, none = SceneClass.BARE, SceneClass.CLOUD_HIGH, SceneClass.NO_DATA
    ascending = np.full((16, 1, 2, 2), 4000, np.int16)
    ascending[:, 0, 1] = 0
    return {
        "grid": TileGrid(epsg=32631, west=0, north=10, width=2, height=1),
        "reflectance": reflectance,
        "scl": np.array([[[clear, clear]], [[cloud, cloud]], [[clear, none]]], np.uint8),
        "days": np.array([10, 100, 200], np.uint16),
        "ascending": ascending,
        "descending": None,
        "scenes": healthy_parts()["scenes"],
    }


def test_a_tile_of_two_pixels_gives_the_numbers_counted_by_hand(tmp_path, two_pixels):
    tile = measure(store(tmp_path, "hand", two_pixels)).tile

    assert dataclasses.asdict(tile) == {
        "tile": "hand",
        "year": 2018,
        "num_pixels": 2,
        "num_s2_dates": 3,
        "num_ascending_dates": 16,
        "num_descending_dates": 0,
        "min_clear": 1,
        "median_clear": 1.5,
        "share_without_clear": 0.0,
        "longest_gap_days": 189,
        "longest_gap_start": 11,
        "median_pixel_gap_days": (189 + 355) / 2,
        "share_duplicate": 0.0,
        "share_no_data": 1 / 6,
        "share_present_ascending": 0.5,
        "share_present_descending": None,
        "num_unknown_scl": 0,
        "first_day": 3,
        "last_day": 363,
        "num_days_outside_year": 0,
        "num_repeated_positions": 0,
        "num_scene_files": 1,
        "num_files_without_digest": 0,
        "num_scenes_outside_year": 0,
    }


def test_bands_are_measured_over_clear_and_present_observations_only(tmp_path, two_pixels):
    bands = measure(store(tmp_path, "hand", two_pixels)).bands

    red, vv = bands["s2", "B04"], bands["s1_ascending", "VV"]
    assert (red.num_values, red.minimum, red.median, red.maximum) == (3, 1000, 1000, 2000)
    assert (vv.num_values, vv.minimum, vv.share_zero) == (16, 4000, 0.0)
    assert bands["s1_descending", "VH"].num_values == 0
    assert len(bands) == 10 + 2 + 2


def test_the_sample_describes_single_pixels(tmp_path, two_pixels):
    sample = measure(store(tmp_path, "hand", two_pixels)).sample

    assert sample.column.tolist() == [0, 1]
    assert sample.num_s2.tolist() == [3, 3]
    assert sample.num_clear.tolist() == [2, 1]
    assert sample.num_s1.tolist() == [16, 0]
    assert sample.longest_gap_days.tolist() == [189, 355]
    assert sample.ndvi_max.tolist() == [0.5, 0.5]
    assert sample.brightness.tolist() == [1600, 1200]
    assert sample.is_on_grid.all()
    assert sample.is_in_order.all()


def test_clear_observations_are_averaged_by_month(tmp_path, two_pixels):
    months = measure(store(tmp_path, "hand", two_pixels)).clear_by_month

    assert months == (1.0, 0, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0)


def test_a_pixel_without_clear_observation_has_no_ndvi_and_no_brightness(tmp_path):
    parts = healthy_parts()
    parts["scl"][:, 0, 0] = SceneClass.CLOUD_SHADOW

    measures = measure(store(tmp_path, "shade", parts))

    assert measures.tile.share_without_clear == pytest.approx(1 / 30)
    assert np.flatnonzero(np.isnan(measures.sample.ndvi_max)).tolist() == [0]
    assert np.flatnonzero(np.isnan(measures.sample.brightness)).tolist() == [0]


def test_a_tile_without_pixels_is_measured_as_empty(tmp_path):
    folder = store(tmp_path, "empty", healthy_parts())
    keep_none = dict.fromkeys(
        ("row", "column", "x", "y", "s2_reflectance", "s2_scl", "s2_day_of_year"),
        lambda values: [],
    )
    radar = [
        f"s1_{orbit}{days}"
        for orbit in ("ascending", "descending")
        for days in ("", "_day_of_year")
    ]
    rewrite(folder, **keep_none, **dict.fromkeys(radar, lambda values: []))

    tile = measure(folder).tile

    assert (tile.num_pixels, tile.min_clear, tile.median_clear) == (0, 0, 0)
    assert (tile.longest_gap_days, tile.first_day, tile.share_present_ascending) == (
        365,
        None,
        None,
    )


def test_the_sample_is_bounded_seeded_and_without_repeats(tmp_path):
    folder = store(tmp_path, "healthy", healthy_parts())

    first, again, other = (
        measure(folder, num_sample_rows=7, seed=seed).sample for seed in (1, 1, 2)
    )

    position = first.row * 6 + first.column
    assert len(np.unique(position)) == 7
    assert (position == again.row * 6 + again.column).all()
    assert (position != other.row * 6 + other.column).any()


def test_lists_that_do_not_fit_together_are_refused_with_their_row(tmp_path):
    folder = store(tmp_path, "torn", healthy_parts())
    rewrite(folder, s2_scl=lambda values: [*values[:4], values[4][:-1], *values[5:]])

    with pytest.raises(RecordError, match=r"row 4: s2_scl holds 23 values for 24 days.*1 of 30"):
        measure(folder)


def test_a_missing_list_is_refused(tmp_path):
    folder = store(tmp_path, "torn", healthy_parts())
    rewrite(folder, s1_ascending=lambda values: [None, *values[1:]])

    with pytest.raises(RecordError, match=r"row 0: s1_ascending .* ingest again"):
        measure(folder)


def test_a_tile_without_its_scenes_table_is_refused(tmp_path):
    folder = store(tmp_path, "lost", healthy_parts())
    (folder / "scenes.parquet").unlink()

    with pytest.raises(RecordError, match=r"cannot read .*scenes\.parquet"):
        measure(folder)


def test_an_empty_scenes_table_is_counted_not_refused(tmp_path):
    folder = store(tmp_path, "bare", healthy_parts())
    rewrite_scenes(folder, [])

    assert measure(folder).tile.num_scene_files == 0


def test_the_long_table_holds_every_number_once(tmp_path, two_pixels):
    measures = measure(store(tmp_path, "hand", two_pixels))

    table = statistics_table([measures])

    rows = table.to_pylist()
    keys = {(row["sensor"], row["band"], row["statistic"]) for row in rows}
    assert len(keys) == len(rows) == 22 + 14 * 9
    value = {(row["sensor"], row["band"], row["statistic"]): row["value"] for row in rows}
    assert value[None, None, "median_clear"] == 1.5
    assert value["s2", "B04", "median"] == 1000
    assert value["s1_descending", "VV", "median"] is None


def test_tables_name_the_tile_in_every_row(tmp_path, two_pixels):
    parts = {"first": two_pixels, "second": healthy_parts()}
    measures = [measure(store(tmp_path, name, tile)) for name, tile in parts.items()]

    tables = tables_of(measures)

    assert tables["tile"]["tile"] == ["first", "second"]
    assert tables["band"]["tile"] == ["first"] * 14 + ["second"] * 14
    assert tables["row"]["tile"] == ["first"] * 2 + ["second"] * 30
    assert {len(column) for column in tables["row"].values()} == {32}


def test_the_measuring_function_and_its_result_can_be_sent_to_a_worker(tmp_path):
    folder = store(tmp_path, "healthy", healthy_parts())
    task = pickle.loads(pickle.dumps(partial(measure_tile, num_sample_rows=5, seed=1)))

    returned = pickle.loads(pickle.dumps(task(folder)))

    assert returned.tile == measure(folder, num_sample_rows=5, seed=1).tile
