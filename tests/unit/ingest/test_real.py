"""Real scenes: the same 64 x 64 pixels of 2018 through both sources."""

from pathlib import Path

import numpy as np
import pytest

from tessera_core.domain.scl import clear_mask
from tessera_core.domain.tile import TileSeries
from tessera_core.ingest.sources.stac import StacScenes
from tessera_core.ingest.sources.tiles import TileDirectories
from tessera_core.testing.settings import ingest_settings


@pytest.fixture(scope="module")
def from_directory(shared_data: Path) -> TileSeries:
    source = TileDirectories(shared_data / "flanders-2018", shared_data)
    (ref,) = source.tiles()
    return source.read(ref)[0]


@pytest.fixture(scope="module")
def from_catalogue(shared_data: Path) -> TileSeries:
    source = StacScenes(ingest_settings(path="flanders-2018-stac"), shared_data)
    (ref,) = source.tiles()
    return source.read(ref)[0]


def test_the_directory_holds_what_its_description_says(from_directory):
    clear = clear_mask(from_directory.optical.scl)

    assert (from_directory.name, from_directory.year) == ("flanders-2018", 2018)
    assert from_directory.optical.reflectance.shape == (91, 64, 64, 10)
    assert from_directory.ascending.backscatter_scaled_db.shape == (109, 64, 64, 2)
    assert np.median(clear.sum(axis=0)) == 57


def test_an_orbit_of_length_0_is_accepted(from_directory, from_catalogue):
    for tile in (from_directory, from_catalogue):
        assert tile.descending.backscatter_scaled_db.shape == (0, 64, 64, 2)


def test_both_sources_place_the_tile_alike(from_directory, from_catalogue):
    assert from_catalogue.grid == from_directory.grid
    assert from_catalogue.year == from_directory.year


@pytest.mark.parametrize("sensor", ["optical", "ascending"])
def test_both_sources_have_the_same_dates(from_directory, from_catalogue, sensor):
    one, two = getattr(from_directory, sensor), getattr(from_catalogue, sensor)

    assert two.day_of_year.tolist() == one.day_of_year.tolist()


def test_both_sources_call_the_same_observations_clear(from_directory, from_catalogue):
    one, two = from_directory.optical.scl, from_catalogue.optical.scl

    assert np.array_equal(clear_mask(two), clear_mask(one))


def test_reflectance_is_equal_to_the_last_digit(from_directory, from_catalogue):
    one, two = from_directory.optical.reflectance, from_catalogue.optical.reflectance

    assert np.array_equal(two, one)


def test_backscatter_is_equal_within_one_code(from_directory, from_catalogue):
    one, two = (
        tile.ascending.backscatter_scaled_db.astype(int)
        for tile in (from_directory, from_catalogue)
    )

    assert np.abs(two - one).max() <= 1
    assert np.array_equal(two == 0, one == 0)
