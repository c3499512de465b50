"""A tile is checked once, when it is made; each refusal says what was found."""

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.domain.scl import SceneClass
from tessera_core.domain.tile import OpticalSeries, RadarSeries, empty_radar
from tessera_core.errors import SceneError
from tessera_core.testing.tiles import make_grid, make_tile

SHAPE = (3, 4, 5)
DAYS = np.array([10, 20, 366], np.uint16)


def optical(**changes) -> OpticalSeries:
    parts = {
        "reflectance": np.ones((*SHAPE, 10), np.uint16),
        "scl": np.full(SHAPE, SceneClass.VEGETATION, np.uint8),
        "day_of_year": DAYS,
    }
    return OpticalSeries(**{**parts, **changes})


def radar(**changes) -> RadarSeries:
    parts = {"backscatter_scaled_db": np.ones((*SHAPE, 2), np.int16), "day_of_year": DAYS}
    return RadarSeries(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reflectance": np.ones((*SHAPE, 10), np.float32)},
            "S2 reflectance is float32, expected uint16; convert before ingest",
        ),
        (
            {"reflectance": np.ones((10, *SHAPE), np.uint16)},
            r"shape \(10, 3, 4, 5\), expected \(time, row, column, 10\); .* band-first",
        ),
        (
            {"reflectance": np.ones((3, 4, 10), np.uint16)},
            r"shape \(3, 4, 10\), expected \(time, row, column, 10\)",
        ),
        ({"scl": np.full((3, 4, 6), 4, np.uint8)}, r"scl has shape \(3, 4, 6\) and type uint8"),
        ({"scl": np.full(SHAPE, 4, np.float32)}, r"type float32, but .* needs \(3, 4, 5\)"),
        ({"scl": np.full(SHAPE, 42, np.uint8)}, r"scl holds codes \[42\]; expected 0\.\.11"),
        ({"day_of_year": DAYS[:2]}, r"shape \(2,\), but 3 dates need \(3,\)"),
        ({"day_of_year": DAYS - 10}, r"S2 day_of_year spans 0\.\.356, .* 1 January, not 0"),
        ({"day_of_year": DAYS + 1}, r"spans 11\.\.367, expected 1\.\.366"),
        ({"day_of_year": DAYS[::-1]}, "S2 dates are not in time order; sort them"),
        ({"day_of_year": DAYS - np.array([0, 11, 0], np.uint16)}, "S2 dates are not in time order"),
    ],
)
def test_an_optical_series_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(SceneError, match=message):
        optical(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backscatter_scaled_db": np.ones((*SHAPE, 2), np.float32)},
            "S1 backscatter is float32, expected int16",
        ),
        (
            {"backscatter_scaled_db": np.ones((*SHAPE, 3), np.int16)},
            r"expected \(time, row, column, 2\)",
        ),
        (
            {"backscatter_scaled_db": np.full((*SHAPE, 2), -12, np.int16)},
            "goes down to -12, expected scaled dB .* was plain dB or linear power stored",
        ),
        ({"day_of_year": DAYS[::-1]}, "S1 dates are not in time order"),
        ({"day_of_year": np.zeros(0, np.uint16)}, r"shape \(0,\), but 3 dates"),
    ],
)
def test_a_radar_series_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(SceneError, match=message):
        radar(**changes)


def test_an_orbit_that_never_passed_is_a_series_of_length_0():
    series = empty_radar(make_grid(width=5, height=4))

    assert series.backscatter_scaled_db.shape == (0, 4, 5, 2)
    assert series.day_of_year.shape == (0,)


def test_a_leap_year_has_a_day_366():
    assert optical().day_of_year[-1] == 366


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ascending": empty_radar(make_grid(width=6))},
            r"tile tile: S1 ascending covers \(4, 6\)",
        ),
        ({"descending": empty_radar(make_grid(height=3))}, r"S1 descending covers \(3, 5\)"),
        ({"inside": np.ones((5, 4), np.bool_)}, r"region of interest covers \(5, 4\)"),
        ({"grid": make_grid(width=7)}, r"S2 reflectance covers \(4, 5\) .* the grid is \(4, 7\)"),
    ],
)
def test_all_parts_of_a_tile_cover_its_grid(changes, message):
    with pytest.raises(SceneError, match=message):
        replace(make_tile(), **changes)


def test_a_tile_without_any_clear_observation_is_refused():
    tile = make_tile(name="winter", year=2019, num_s2=3)
    clouds = np.full_like(tile.optical.scl, SceneClass.CLOUD_HIGH)

    with pytest.raises(
        SceneError, match="tile winter, 2019: none of 3 Sentinel-2 dates is clear anywhere"
    ):
        replace(tile, optical=replace(tile.optical, scl=clouds))


def test_a_clear_observation_outside_the_region_does_not_count():
    tile = make_tile()
    scl = np.full_like(tile.optical.scl, SceneClass.CLOUD_HIGH)
    scl[0, 0, 0] = SceneClass.VEGETATION
    inside = np.ones(scl.shape[1:], np.bool_)
    inside[0, 0] = False

    with pytest.raises(SceneError, match="is clear anywhere"):
        replace(tile, optical=replace(tile.optical, scl=scl), inside=inside)
