"""The simulated catalogue: same seed same bytes, Planetary Computer's structure, honest truth."""

import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from threadpoolctl import threadpool_limits

from tessera_core.domain.bands import S2_BANDS, S2_NAMES
from tessera_core.domain.scl import KNOWN_CODES, SceneClass, clear_mask
from tessera_core.errors import ConfigError, SceneError
from tessera_core.simulate import SimulateConfig, simulate, write_catalogue
from tessera_core.simulate.crops import CROPS
from tessera_core.simulate.ground import build_world, ground_on
from tessera_core.simulate.landscape import LandCover
from tessera_core.simulate.optical import (
    COARSE,
    granule_columns,
    optical_overpasses,
    optical_scenes,
)
from tessera_core.simulate.radar import NODATA, radar_overpasses, radar_scene
from tessera_core.simulate.surface import surface_reflectance
from tessera_core.simulate.truth import truth_rasters
from tessera_core.simulate.weather import draw_weather

# Both sides of the baseline offset of 2022-01-25, and quick.
FIRST_WEEKS = range(1, 41)
FEW_DAYS = range(20, 30)


def make_config(**changes) -> SimulateConfig:
    settings = {"path": "scenes", "seed": 7, "year": 2022, "width": 48, "height": 32}
    return SimulateConfig(**{**settings, **changes})


def tree_digest(folder: Path) -> str:
    """One hash over names and bytes of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory) -> Path:
    """The first weeks of 2022 on disk."""
    folder = tmp_path_factory.mktemp("simulated") / "scenes"
    return write_catalogue(make_config(), folder, days=FIRST_WEEKS).parent


@pytest.fixture(scope="module")
def items(catalogue) -> list[pystac.Item]:
    root = pystac.Catalog.from_file(str(catalogue / "catalog.json"))
    return list(root.get_items(recursive=True))


@pytest.fixture(scope="module")
def optical(items) -> list[pystac.Item]:
    return [item for item in items if item.collection_id == "sentinel-2-l2a"]


@pytest.fixture(scope="module")
def radar(items) -> list[pystac.Item]:
    return [item for item in items if item.collection_id == "sentinel-1-rtc"]


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    return truth_rasters(build_world(make_config(width=96, height=64)).landscape)


def asset_path(item: pystac.Item, name: str) -> Path:
    return Path(item.assets[name].get_absolute_href())


def test_the_same_seed_writes_the_same_bytes_in_any_directory(tmp_path):
    here = write_catalogue(make_config(), tmp_path / "here", days=FEW_DAYS)
    there = write_catalogue(make_config(path="x"), tmp_path / "a" / "there", days=FEW_DAYS)

    assert tree_digest(here.parent) == tree_digest(there.parent)


def test_reflectance_does_not_depend_on_the_number_of_threads():
    world = build_world(make_config(width=192, height=128))
    ground = ground_on(world, 150, moisture=0.4, snow=0.1)

    with threadpool_limits(limits=1):
        alone = surface_reflectance(world, ground)
    with threadpool_limits(limits=2):
        shared = surface_reflectance(world, ground)

    assert np.array_equal(alone, shared)


def test_another_seed_writes_other_bytes(tmp_path):
    seven = write_catalogue(make_config(), tmp_path / "seven", days=FEW_DAYS).parent
    eight = write_catalogue(make_config(seed=8), tmp_path / "eight", days=FEW_DAYS).parent

    for name in ("crop_type", "parcel_id", "canopy_height"):
        first, second = (read(folder / "labels" / f"{name}.tif") for folder in (seven, eight))
        assert not np.array_equal(first, second, equal_nan=name == "canopy_height")


def test_an_acquisition_does_not_depend_on_which_others_are_written(tmp_path, catalogue):
    few = write_catalogue(make_config(), tmp_path / "few", days=FEW_DAYS).parent

    written = [path for path in few.rglob("*.tif") if "labels" not in path.parts]
    assert written
    for path in written:
        assert path.read_bytes() == (catalogue / path.relative_to(few)).read_bytes()


def test_another_year_grows_other_crops_on_the_same_parcels():
    this_year, next_year = (build_world(make_config(year=year)).landscape for year in (2022, 2023))

    assert np.array_equal(this_year.parcel, next_year.parcel)
    assert not np.array_equal(this_year.crop, next_year.crop)


def test_the_documents_validate_against_the_stac_core(catalogue, items):
    root = pystac.Catalog.from_file(str(catalogue / "catalog.json"))

    root.validate()
    for collection in root.get_children():
        collection.validate()
    for item in (items[0], items[-1]):
        core = item.full_copy()
        core.stac_extensions = []  # their schemas are on the network
        core.validate()


def test_every_link_and_asset_exists_and_is_relative(catalogue):
    for path in catalogue.rglob("*.json"):
        document = json.loads(path.read_text())
        hrefs = [link["href"] for link in document.get("links", [])]
        hrefs += [asset["href"] for asset in document.get("assets", {}).values()]
        for href in hrefs:
            assert href.startswith("."), f"{path}: {href}"
            assert (path.parent / href).is_file(), f"{path}: {href}"


def test_items_carry_the_properties_readers_ask_for(optical, radar):
    common = {"datetime", "platform", "proj:code", "proj:bbox"}
    orbit = {"sat:orbit_state", "sat:relative_orbit"}
    tile = {"eo:cloud_cover", "s2:mgrs_tile", "s2:processing_baseline"}

    assert optical
    assert radar
    for item in optical:
        assert common | orbit | tile <= item.properties.keys()
        assert set(item.assets) == {*S2_NAMES, "SCL"}
    for item in radar:
        assert common | orbit <= item.properties.keys()
        assert set(item.assets) == {"vv", "vh"}


def test_assets_describe_their_files(items):
    for item in items:
        for name, asset in item.assets.items():
            content = asset_path(item, name).read_bytes()
            fields = asset.extra_fields
            assert fields["file:size"] == len(content)
            assert fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
            with rasterio.open(asset_path(item, name)) as dataset:
                assert list(dataset.shape) == fields["proj:shape"]
                assert list(dataset.transform)[:6] == fields["proj:transform"]
                assert dataset.transform.a == fields["gsd"]
                assert dataset.crs.to_string() == item.properties["proj:code"]
                assert list(dataset.bounds) == item.properties["proj:bbox"]
                assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_bands_are_stored_at_their_native_resolution(optical):
    gsd = {name: asset.extra_fields["gsd"] for name, asset in optical[0].assets.items()}

    assert gsd == {**{band.name: band.resolution_m for band in S2_BANDS}, "SCL": 20}


def test_the_offset_is_on_after_its_date_and_off_before(optical):
    lowest = {"03.01": [], "04.00": []}
    for item in optical:
        baseline = item.properties["s2:processing_baseline"]
        assert baseline == ("04.00" if item.datetime.date() > date(2022, 1, 25) else "03.01")
        for name in S2_NAMES:
            values = read(asset_path(item, name))
            lowest[baseline].append(int(values[values > 0].min()))

    assert min(lowest["03.01"]) < 500
    assert min(lowest["04.00"]) > 1000


def test_scene_classes_are_known_and_no_data_is_zero_in_all_bands(optical):
    no_data = 0
    for item in optical:
        scl = read(asset_path(item, "SCL"))
        assert set(np.unique(scl)) <= set(KNOWN_CODES)
        for band in S2_BANDS:
            values = read(asset_path(item, band.name))
            factor = 20 // band.resolution_m
            expected = (scl == SceneClass.NO_DATA).repeat(factor, 0).repeat(factor, 1)
            assert np.array_equal(values == 0, expected)
        no_data += int((scl == SceneClass.NO_DATA).sum())

    assert no_data > 0


def test_cloud_cover_states_what_the_classes_say(optical):
    clouds = [SceneClass.CLOUD_MEDIUM, SceneClass.CLOUD_HIGH, SceneClass.THIN_CIRRUS]
    for item in optical:
        scl = read(asset_path(item, "SCL"))
        percent = 100 * np.isin(scl, clouds).sum() / (scl != SceneClass.NO_DATA).sum()
        assert item.properties["eo:cloud_cover"] == pytest.approx(percent, abs=1e-3)
        assert percent <= 95


def test_two_granules_of_one_day_overlap(optical):
    boxes = {}
    for item in optical:
        boxes.setdefault(item.datetime, {})[item.properties["s2:mgrs_tile"]] = item.properties[
            "proj:bbox"
        ]
    pairs = [tiles for tiles in boxes.values() if len(tiles) == 2]

    assert pairs
    for tiles in pairs:
        west, east = tiles["33UWP"], tiles["33UXP"]
        assert west[0] < east[0] < west[2] < east[2]


@pytest.mark.parametrize("width", [32, 34, 48, 192, 1024])
def test_granules_cover_the_width_and_meet_on_20_m_pixels(width):
    west, east = granule_columns(width)

    assert (west.start, east.stop) == (0, width)
    assert east.start < west.stop
    assert west.stop % COARSE == east.start % COARSE == 0


def test_a_year_has_about_sixty_optical_dates_and_fewer_clear_ones_in_winter():
    config = make_config(width=32)
    world, weather = build_world(config), draw_weather(config)
    num_dates = 0
    clear_by_month = np.zeros(13)
    for overpass in optical_overpasses(config.year):
        scenes = list(optical_scenes(config, world, weather, overpass))
        num_dates += bool(scenes)
        clear = [clear_mask(scene.scl).mean() for scene in scenes] or [0.0]
        clear_by_month[overpass.acquired.month] += np.mean(clear)

    assert 45 <= num_dates <= 68
    assert clear_by_month[[11, 12, 1, 2]].sum() < clear_by_month[[5, 6, 7, 8]].sum()


def test_clear_observations_sometimes_hold_residual_cloud():
    config = make_config(width=96, height=64)
    world, weather = build_world(config), draw_weather(config)
    blue = []
    for overpass in optical_overpasses(config.year):
        if 140 <= overpass.day_of_year <= 250:
            for scene in optical_scenes(config, world, weather, overpass):
                values = scene.bands["B02"][::2, ::2].astype(int) - 1000
                land = np.isin(scene.scl, [SceneClass.VEGETATION, SceneClass.BARE])
                blue.append(values[land])

    bright = np.concatenate(blue) > 2500
    assert 0.002 < bright.mean() < 0.10


def test_descending_passes_have_a_gap_and_miss_part_of_the_area():
    config = make_config()
    world, weather = build_world(config), draw_weather(config)
    passes = {state: [] for state in ("ascending", "descending")}
    for overpass in radar_overpasses(config.year):
        passes[overpass.track.orbit_state].append(overpass)

    days = [overpass.day_of_year for overpass in passes["descending"]]
    assert np.diff(days).max() > 60
    assert np.diff([overpass.day_of_year for overpass in passes["ascending"]]).max() <= 12
    missing = radar_scene(config, world, weather, passes["descending"][0])[0] == NODATA
    assert 0.1 < missing.mean() < 0.5
    first_ascending = radar_scene(config, world, weather, passes["ascending"][0])
    assert (first_ascending > 0).all()


def test_backscatter_is_plausible_linear_power_with_declared_no_data(radar):
    for item in radar:
        with rasterio.open(asset_path(item, "vv")) as dataset:
            assert dataset.nodata == NODATA
            assert dataset.dtypes == ("float32",)
        vv, vh = (read(asset_path(item, name)) for name in ("vv", "vh"))
        seen = vv != NODATA
        assert np.array_equal(seen, vh != NODATA)
        assert -14 < 10 * np.log10(vv[seen].mean()) < -5
        assert vh[seen].mean() < vv[seen].mean()


def test_speckle_leaves_about_four_and_a_half_looks():
    config = make_config(width=192, height=128)
    world, weather = build_world(config), draw_weather(config)
    forest = (world.landscape.cover == LandCover.FOREST).reshape(128, 2, 192, 2)
    inside = forest.all(axis=(1, 3))
    vv = radar_scene(config, world, weather, radar_overpasses(config.year)[0])[0][inside]

    looks = vv.mean() ** 2 / vv.var()

    # The stands themselves vary too, which costs a few tenths.
    assert 3.0 < looks < 5.5


def test_each_parcel_grows_one_crop(truth):
    crop, parcel = truth["crop_type"], truth["parcel_id"]
    grown = crop > 0

    assert (parcel[grown] > 0).all()
    pairs = np.unique(np.stack([parcel[grown], crop[grown]]), axis=1)
    assert np.unique(pairs[0]).size == pairs.shape[1]
    assert set(np.unique(crop[grown])) == {crop.code for crop in CROPS}
    assert (truth["land_cover"][grown] == LandCover.CROPLAND).all()


def test_forest_truth_exists_in_forest_alone(truth):
    forest = truth["land_cover"] == LandCover.FOREST
    height, biomass = truth["canopy_height"], truth["biomass"]

    assert forest.any()
    assert np.array_equal(np.isfinite(height), forest)
    assert np.array_equal(np.isfinite(biomass), forest)
    assert height[forest].min() > 1
    assert height[forest].max() <= 40
    assert np.corrcoef(height[forest], biomass[forest])[0, 1] > 0.7


def test_the_fire_burns_in_late_summer_and_spares_fields(truth):
    burnt = truth["burn_date"] > 0

    assert burnt.any()
    assert (truth["crop_type"][burnt] == 0).all()
    days = truth["burn_date"][burnt].astype(int)
    assert days.min() >= 190
    assert np.ptp(days) <= 9


def test_labels_lie_on_the_frame_of_the_scenes_with_a_legend(catalogue, radar):
    legend = json.loads((catalogue / "labels" / "legend.json").read_text())
    crop = read(catalogue / "labels" / "crop_type.tif")

    assert crop.dtype == np.uint16
    assert {str(code) for code in np.unique(crop[crop > 0])} <= legend["crop_type"].keys()
    for path in (catalogue / "labels").glob("*.tif"):
        with rasterio.open(path) as dataset:
            assert list(dataset.bounds) == radar[0].properties["proj:bbox"]


def test_a_catalogue_of_the_same_settings_is_reused_untouched(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    document = {"tessera:simulation": make_config().record()}
    (folder / "catalog.json").write_text(json.dumps(document))
    before = tree_digest(folder)

    found = simulate(make_config(), tmp_path)

    assert found == folder / "catalog.json"
    assert tree_digest(folder) == before


@pytest.mark.slow
def test_an_older_simulation_is_replaced_and_nothing_else_is_left(tmp_path):
    config = make_config(path="deep/scenes", width=32, height=32)
    write_catalogue(config, tmp_path / "deep" / "scenes", days=FEW_DAYS)
    (tmp_path / "deep" / "scenes" / "stale.txt").write_text("of the older one")

    simulate(config, tmp_path)

    recorded = json.loads((tmp_path / "deep/scenes/catalog.json").read_text())
    assert recorded["tessera:simulation"] == config.record()
    assert not (tmp_path / "deep" / "scenes" / "stale.txt").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["scenes"]


def test_a_part_of_the_year_is_never_taken_for_the_whole(catalogue):
    recorded = json.loads((catalogue / "catalog.json").read_text())["tessera:simulation"]

    assert recorded == make_config().record(FIRST_WEEKS)
    assert recorded["digest"] != make_config().record()["digest"]


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "thesis.txt").write_text("precious")

    with pytest.raises(SceneError, match="files that simulate did not write"):
        simulate(make_config(), tmp_path)

    assert (tmp_path / "scenes" / "thesis.txt").read_text() == "precious"


def test_a_broken_catalogue_is_refused(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "catalog.json").write_text("{")

    with pytest.raises(SceneError, match="no readable catalogue"):
        simulate(make_config(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "/abs"}, "simulate.path is '/abs', expected a folder below"),
        ({"path": "a/../.."}, "Use a relative path"),
        ({"path": "."}, "simulate.path is '.'"),
        ({"path": ""}, "simulate.path is ''"),
        ({"seed": -1}, "simulate.seed is -1, expected a whole number >= 0"),
        ({"year": 2015}, r"simulate.year is 2015, expected 2017\.\.2030"),
        ({"width": 33}, "simulate.width is 33 pixels, expected an even number"),
        ({"height": 16}, "simulate.height is 16 pixels"),
        ({"width": 4096}, r"32\.\.1024"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config(**changes)
