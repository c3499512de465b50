"""Scenes of a catalogue become one tile: a mosaic per day, offset removed once, orbits apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.domain.bands import NUM_S2, S2_NAMES
from tessera_core.domain.scl import SceneClass, clear_mask
from tessera_core.domain.tile import TileSeries
from tessera_core.errors import SceneError
from tessera_core.ingest.sources.stac import OpticalImage, StacScenes, mosaic_day
from tessera_core.records.samples import Scene
from tessera_core.testing.catalogues import MadeScene, optical_scene, radar_scene, write_catalogue
from tessera_core.testing.settings import ingest_settings
from tessera_core.testing.tiles import make_grid

GRID = make_grid(width=8, height=6)
NO_DATA, CLOUD, CLEAR = SceneClass.NO_DATA, SceneClass.CLOUD_HIGH, SceneClass.VEGETATION
JUNE = optical_scene("june", "2022-06-01T10:00:00", GRID, value=3000)


def open_scenes(root: Path, scenes: list[MadeScene], **changes) -> StacScenes:
    write_catalogue(root / "scenes", scenes)
    return StacScenes(ingest_settings(**changes), root)


def read_only_tile(
    root: Path, scenes: list[MadeScene], **changes
) -> tuple[TileSeries, list[Scene]]:
    source = open_scenes(root, scenes, **changes)
    (ref,) = source.tiles()
    return source.read(ref)


def coarse(left: int, right: int) -> np.ndarray:
    """Scene classes at 20 m: one in the western half, one in the eastern."""
    return np.repeat(np.array([[left, left, right, right]], np.uint8), 3, axis=0)


def halves(cube: np.ndarray) -> tuple[list, list]:
    """The values that occur in the western and in the eastern half."""
    return np.unique(cube[..., :4]).tolist(), np.unique(cube[..., 4:]).tolist()


# -- one mosaic per day -----------------------------------------------------------------------


def image(value: int, *classes: int) -> OpticalImage:
    scl = np.array([classes], np.uint8)
    values = np.full((*scl.shape, NUM_S2), value) + np.arange(NUM_S2)
    return OpticalImage(reflectance=values.astype(np.uint16), scl=scl)


def test_the_first_clear_item_supplies_a_pixel():
    day = mosaic_day([image(100, CLOUD, CLEAR), image(200, CLEAR, CLEAR), image(300, CLEAR, CLEAR)])

    assert day.reflectance[0, :, 0].tolist() == [200, 100]
    assert day.scl.tolist() == [[CLEAR, CLEAR]]


def test_one_item_supplies_all_bands_of_a_pixel():
    day = mosaic_day([image(100, CLOUD), image(200, CLEAR)])

    assert day.reflectance[0, 0].tolist() == list(range(200, 200 + NUM_S2))


def test_where_none_is_clear_the_first_with_data_is_kept_and_stays_obscured():
    day = mosaic_day([image(0, NO_DATA), image(200, CLOUD), image(300, SceneClass.CLOUD_SHADOW)])

    assert day.reflectance[0, 0, 0] == 200
    assert day.scl.tolist() == [[CLOUD]]


def test_where_none_has_data_there_is_no_data():
    day = mosaic_day([image(7, NO_DATA), image(8, NO_DATA)])

    assert day.scl.tolist() == [[NO_DATA]]


def test_the_choice_of_item_equals_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "preprocess.npz")
    stack = np.nan_to_num(golden["scl.stack"], nan=NO_DATA).astype(np.uint8)
    bands = np.repeat(golden["scl.band_stack"][..., None], NUM_S2, axis=-1).astype(np.uint16)
    bands[..., 1] = np.arange(len(bands))[:, None, None]  # which image a pixel came from
    images = [OpticalImage(reflectance=b, scl=s) for b, s in zip(bands, stack, strict=True)]

    day = mosaic_day(images)

    # The reference looks inside its region only, and draws lots where no item is clear.
    chosen = golden["scl.tile_selection"]
    settled = chosen >= 0
    expected = np.take_along_axis(stack, np.maximum(chosen, 0)[None].astype(int), axis=0)[0]
    assert np.array_equal(day.reflectance[settled][:, 1], chosen[settled])
    assert np.array_equal(day.scl[settled], expected[settled])
    same = golden["scl.band_mosaic_compare"] & settled
    assert same.sum() > 15
    assert np.array_equal(day.reflectance[same][:, 0], golden["scl.band_mosaic"][same])
    inside = golden["scl.roi"] == 1
    assert np.array_equal(clear_mask(day.scl)[inside], settled[inside])
    valid_percent = 100 * clear_mask(day.scl)[inside].mean()
    assert valid_percent == pytest.approx(float(golden["scl.valid_pct"]), rel=1e-12)


def test_two_granules_of_one_day_become_one_date(tmp_path):
    west = optical_scene("a", "2022-06-01T10:00:00", GRID, value=3000, scl=coarse(CLEAR, NO_DATA))
    east = optical_scene("b", "2022-06-01T10:00:20", GRID, value=4000, scl=coarse(CLOUD, CLEAR))

    tile, _ = read_only_tile(tmp_path, [west, east])

    assert tile.optical.day_of_year.tolist() == [152]
    assert halves(tile.optical.reflectance[0, ..., 0]) == ([2000], [3000])
    assert clear_mask(tile.optical.scl).all()


def test_catalogue_order_and_not_the_clock_decides_between_two_clear_items(tmp_path):
    first = optical_scene("z", "2022-06-01T11:00:00", GRID, value=5000)
    second = optical_scene("a", "2022-06-01T10:00:00", GRID, value=6000)

    tile, _ = read_only_tile(tmp_path, [first, second])

    assert np.unique(tile.optical.reflectance).tolist() == [4000]


def test_dates_are_in_time_order_whatever_the_catalogue_says(tmp_path):
    scenes = [
        optical_scene(day, f"2022-{day}T10:00:00", GRID, value=2000 + int(day[:2]))
        for day in ("07-01", "02-01", "12-31")
    ]

    tile, _ = read_only_tile(tmp_path, scenes)

    assert tile.optical.day_of_year.tolist() == [32, 182, 365]
    assert tile.optical.reflectance[:, 0, 0, 0].tolist() == [1002, 1007, 1012]


def test_bands_are_stored_in_the_order_of_the_method(tmp_path):
    shapes = {name: raster.shape for name, raster in JUNE.rasters.items() if name != "SCL"}
    value = {name: np.full(shape, 100 + i) for i, (name, shape) in enumerate(shapes.items())}
    scene = optical_scene("x", "2021-06-01T10:00:00", GRID, value=value)

    tile, _ = read_only_tile(tmp_path, [scene])

    assert tuple(shapes) == S2_NAMES
    assert tile.optical.reflectance[0, 0, 0].tolist() == list(range(100, 110))


def test_a_date_that_does_not_reach_the_tile_is_left_out(tmp_path):
    beside = make_grid(west=GRID.west + 80, width=8, height=6)
    scenes = [
        JUNE,
        optical_scene("beside", "2022-06-03T10:00:00", beside, value=3000),
        optical_scene("empty", "2022-06-05T10:00:00", GRID, value=0, scl=NO_DATA),
        radar_scene("dark", "2022-06-06T05:00:00", GRID, power=np.nan),
    ]
    source = open_scenes(tmp_path, scenes, tile_size=8)

    west, east = (source.read(ref)[0] for ref in source.tiles())

    assert west.optical.day_of_year.tolist() == [152]
    assert east.optical.day_of_year.tolist() == [154]
    assert west.ascending.backscatter_scaled_db.shape == (0, 6, 8, 2)


# -- the baseline offset ----------------------------------------------------------------------

AROUND_THE_OFFSET = [
    optical_scene("before", "2022-01-25T23:59:59", GRID, value=3000),
    optical_scene("after", "2022-01-26T00:00:00", GRID, value=3000),
    optical_scene("low", "2022-01-27T10:00:00", GRID, value=999),
]


def test_the_offset_is_removed_after_its_date_only_and_never_below_it(tmp_path):
    tile, scenes = read_only_tile(tmp_path, AROUND_THE_OFFSET)

    assert tile.optical.reflectance[:, 0, 0, 0].tolist() == [3000, 2000, 999]
    assert {(scene.scene_id, scene.offset_removed) for scene in scenes} == {
        ("before", False),
        ("after", True),
        ("low", True),
    }


def test_a_source_that_removed_the_offset_keeps_its_numbers(tmp_path):
    tile, scenes = read_only_tile(tmp_path, AROUND_THE_OFFSET, offset_policy="removed_upstream")

    assert tile.optical.reflectance[:, 0, 0, 0].tolist() == [3000, 3000, 999]
    assert not any(scene.offset_removed for scene in scenes)


def test_the_offset_is_removed_once_from_a_day_of_two_items_and_in_a_second_reading(tmp_path):
    west = optical_scene("a", "2022-06-01T10:00:00", GRID, value=5000, scl=coarse(CLEAR, CLOUD))
    east = optical_scene("b", "2022-06-01T10:00:20", GRID, value=5000, scl=coarse(CLOUD, CLEAR))
    source = open_scenes(tmp_path, [west, east])
    (ref,) = source.tiles()

    for _ in range(2):
        assert np.unique(source.read(ref)[0].optical.reflectance).tolist() == [4000]


# -- radar ------------------------------------------------------------------------------------


def test_two_radar_items_of_one_day_are_merged_first_valid(tmp_path):
    power = np.full((6, 8), np.nan, np.float32)
    power[:, :4] = 0.1
    scenes = [
        JUNE,
        radar_scene("a", "2022-06-02T05:00:00", GRID, power=power),
        radar_scene("b", "2022-06-02T05:00:25", GRID, power=1.0),
    ]

    tile, _ = read_only_tile(tmp_path, scenes)

    assert tile.ascending.day_of_year.tolist() == [153]
    assert halves(tile.ascending.backscatter_scaled_db[0, ..., 0]) == ([6000], [10_000])


def test_orbits_are_kept_apart_even_on_one_day(tmp_path):
    scenes = [
        JUNE,
        radar_scene("a", "2022-06-02T05:00:00", GRID, power=0.1, orbit="descending"),
        radar_scene("b", "2022-06-02T17:00:00", GRID, power=1.0, orbit="ascending"),
    ]

    tile, _ = read_only_tile(tmp_path, scenes)

    assert np.unique(tile.descending.backscatter_scaled_db).tolist() == [6000]
    assert np.unique(tile.ascending.backscatter_scaled_db).tolist() == [10_000]


def test_a_polarisation_that_was_not_sent_is_missing(tmp_path):
    full = radar_scene("a", "2022-06-02T05:00:00", GRID, power=0.1)
    single = MadeScene(
        scene_id="b",
        collection=full.collection,
        acquired=full.acquired,
        grid=GRID,
        rasters={"vv": full.rasters["vv"]},
        nodata=full.nodata,
        properties=full.properties,
    )

    tile, scenes = read_only_tile(tmp_path, [JUNE, single])

    assert tile.ascending.backscatter_scaled_db[0, 0, 0].tolist() == [6000, 0]
    assert [scene.asset for scene in scenes if scene.scene_id == "b"] == ["vv"]


# -- resampling -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resampling", "expected"),
    [("nearest", [100, 100, 200, 200]), ("bilinear", [100, 125, 175, 200])],
)
def test_20_m_bands_are_resampled_as_the_settings_say_and_10_m_bands_are_not(
    tmp_path, resampling, expected
):
    value = {
        name: np.tile([100, 200, 200, 200], (3, 1))
        if raster.shape == (3, 4)
        else np.tile([100, 200] * 4, (6, 1))
        for name, raster in JUNE.rasters.items()
    }
    scene = optical_scene("x", "2021-06-01T10:00:00", GRID, value=value)

    tile, _ = read_only_tile(tmp_path, [scene], resampling=resampling)

    bands = dict(zip(S2_NAMES, tile.optical.reflectance[0, 2].T.tolist(), strict=True))
    assert bands["B04"] == [100, 200] * 4
    assert bands["B05"] == [*expected, 200, 200, 200, 200]


def test_scene_classes_are_never_blended(tmp_path):
    scene = optical_scene("x", "2022-06-01T10:00:00", GRID, value=3000, scl=coarse(CLEAR, CLOUD))

    tile, _ = read_only_tile(tmp_path, [scene], resampling="bilinear")

    assert halves(tile.optical.scl[0]) == ([CLEAR], [CLOUD])


# -- tiles and years --------------------------------------------------------------------------

TWO_YEARS = [
    optical_scene("a", "2021-12-31T10:00:00", GRID, value=2000),
    optical_scene("b", "2022-01-01T10:00:00", GRID, value=2500),
]


def test_every_year_is_a_tile_of_its_own_dates(tmp_path):
    source = open_scenes(tmp_path, TWO_YEARS)

    tiles = {ref.year: source.read(ref)[0] for ref in source.tiles()}

    assert {year: tile.optical.day_of_year.tolist() for year, tile in tiles.items()} == {
        2021: [365],
        2022: [1],
    }


def test_a_year_in_the_settings_is_the_only_one(tmp_path):
    assert [ref.year for ref in open_scenes(tmp_path, TWO_YEARS, year=2022).tiles()] == [2022]


def test_tiles_are_named_by_zone_and_north_west_corner(tmp_path):
    refs = open_scenes(tmp_path, [JUNE], tile_size=8).tiles()

    assert [ref.name for ref in refs] == ["32631_500000_5600000"]
    assert refs[0].grid == GRID


def test_a_year_without_scenes_is_refused(tmp_path):
    source = open_scenes(tmp_path, TWO_YEARS, year=2019)

    with pytest.raises(SceneError, match=r"scenes: tile .*, 2019: none of 0 Sentinel-2 dates"):
        source.read(source.tiles()[0])


def test_a_catalogue_without_optical_items_is_refused(tmp_path):
    radar = radar_scene("a", "2022-06-02T05:00:00", GRID, power=0.1)

    with pytest.raises(SceneError, match=r"no sentinel-2-l2a item of scenes lies in ingest\.bbox"):
        open_scenes(tmp_path, [radar]).tiles()


def test_every_file_read_is_a_row_of_the_scenes_table(tmp_path):
    radar = radar_scene("s1", "2022-06-02T05:00:00", GRID, power=0.1)
    source = open_scenes(tmp_path, [JUNE, radar])

    _, scenes = source.read(source.tiles()[0])

    assert [scene.asset for scene in scenes] == [*S2_NAMES, "SCL", "vv", "vh"]
    digests = {digest.path: digest.sha256 for digest in source.digests()}
    assert all(digests[scene.href] == scene.sha256 for scene in scenes)
    assert {(s.collection, s.acquired, s.orbit, s.baseline) for s in scenes} == {
        ("sentinel-2-l2a", "2022-06-01", "", "04.00"),
        ("sentinel-1-rtc", "2022-06-02", "ascending", ""),
    }


def test_the_identity_of_a_source_changes_with_any_raster_or_item(tmp_path):
    before = open_scenes(tmp_path, [JUNE]).digests()
    for name in ("B04.tif", "june.json"):
        path = tmp_path / "scenes" / "sentinel-2-l2a" / "june" / name
        path.write_bytes(path.read_bytes() + b"\n")

        after = StacScenes(ingest_settings(), tmp_path).digests()

        assert after != before
        before = after


def test_simulated_scenes_are_read_like_any_others(pristine_scenes):
    source = StacScenes(ingest_settings(), pristine_scenes)

    tiles = [source.read(ref)[0] for ref in source.tiles()]

    assert [(tile.grid.width, tile.grid.height) for tile in tiles] == [(48, 32)]
    days = tiles[0].optical.day_of_year
    assert days.min() <= 25 < days.max()
    # Trap: with the offset removed on one side only, the darkest pixels would be 1000 apart.
    before, after = (
        tiles[0].optical.reflectance[chosen].min() for chosen in (days <= 25, days > 25)
    )
    assert abs(int(before) - int(after)) < 500


# -- what was recalled ------------------------------------------------------------------------


def ids(scenes: list[Scene]) -> set[str]:
    return {scene.scene_id for scene in scenes}


def test_an_excluded_scene_is_neither_read_nor_among_the_sources(tmp_path):
    later = optical_scene("july", "2022-07-01T10:00:00", GRID, value=3000)

    source = open_scenes(tmp_path, [JUNE, later], exclude=("june",))

    tile, scenes = source.read(source.tiles()[0])
    assert ids(scenes) == {"july"}
    assert tile.optical.day_of_year.tolist() == [182]
    assert not [digest.path for digest in source.digests() if "june" in digest.path]


@pytest.mark.parametrize("name", ["N0400", "04.00"])
def test_an_excluded_baseline_leaves_out_its_scenes(tmp_path, name):
    baselines = {JUNE.properties.get("s2:processing_baseline")}
    assert baselines == {"04.00"}

    with pytest.raises(SceneError, match=r"is not in ingest\.exclude"):
        open_scenes(tmp_path, [JUNE], exclude=(name,)).tiles()


def test_an_excluded_tile_is_not_cut(tmp_path):
    (ref,) = open_scenes(tmp_path, [JUNE]).tiles()

    with pytest.raises(SceneError, match=r"is not in ingest\.exclude"):
        open_scenes(tmp_path / "again", [JUNE], exclude=(ref.name,)).tiles()


def test_exclusions_that_nothing_has_are_told_and_the_others_not(tmp_path):
    later = optical_scene("july", "2022-07-01T10:00:00", GRID, value=3000)
    (ref,) = open_scenes(tmp_path, [JUNE, later]).tiles()
    given = ("june", "jun", "N9900", "32631_0_0", "0510")

    source = open_scenes(tmp_path / "again", [JUNE, later], exclude=given)

    assert [line.split(",")[0] for line in source.remarks()] == [
        f"ingest.exclude names {name!r}" for name in given[1:]
    ]
    for name in ("july", "N0400", ref.name):
        source = open_scenes(tmp_path / name, [JUNE, later], exclude=(name,))
        assert source.remarks() == []


@pytest.mark.parametrize(
    "values", [np.float32(0.3), np.int16(-5), np.int32(70_000), np.float32("nan")]
)
@pytest.mark.parametrize("key", ["B04", "SCL"])
def test_numbers_that_would_be_stored_as_others_are_refused(tmp_path, key, values):
    wrong = np.full((6, 8) if key == "B04" else (3, 4), values)
    scene = replace(JUNE, rasters={**JUNE.rasters, key: wrong}, nodata=0)
    source = open_scenes(tmp_path, [scene])

    with pytest.raises(
        SceneError, match=rf"{key}\.tif holds {wrong.dtype} from .*, expected whole"
    ):
        source.read(source.tiles()[0])
