"""Crops rise, ripen and fall when they should, and fields of one crop differ."""

import numpy as np
import pytest

from tessera_core.simulate.crops import CROPS
from tessera_core.simulate.landscape import NO_CROP
from tessera_core.simulate.phenology import Canopy, FieldTraits, canopy_on, draw_traits

NAMES = [crop.name for crop in CROPS]
NUM_FIELDS = 200


def make_traits(name: str) -> FieldTraits:
    crop = np.full(NUM_FIELDS, NAMES.index(name) if name in NAMES else NO_CROP, dtype=np.int8)
    return draw_traits(crop, np.random.default_rng(3))


def canopy(name: str, day: float, vigour: float = 1.0) -> Canopy:
    """The canopy of many fields of one crop, one cell each."""
    parcel = np.arange(NUM_FIELDS, dtype=np.int32)[None]
    ones = np.ones(parcel.shape, dtype=np.float32)
    return canopy_on(make_traits(name), parcel, ones * np.float32(day), ones * np.float32(vigour))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("day", [1, 60, 120, 180, 240, 300, 366])
def test_the_canopy_stays_within_its_limits(name, day):
    state = canopy(name, day)

    assert (state.lai >= 0).all()
    assert (state.lai < 12).all()
    assert ((state.straw >= 0) & (state.straw <= 1)).all()
    assert ((state.flowers >= 0) & (state.flowers <= 0.9)).all()


@pytest.mark.parametrize("name", ["winter wheat", "winter barley", "winter rapeseed"])
def test_winter_crops_are_green_in_may_and_gone_in_august(name):
    assert np.median(canopy(name, 140).lai) > 3
    assert np.median(canopy(name, 228).lai) < 0.5


@pytest.mark.parametrize("name", ["maize", "sugar beet", "soy", "sunflower", "potato"])
def test_spring_sown_crops_are_bare_in_may_and_green_in_july(name):
    assert np.median(canopy(name, 128).lai) < 0.6
    assert np.median(canopy(name, 205).lai) > 2


def test_only_rapeseed_hides_under_flowers_in_early_may():
    share = {name: float(np.median(canopy(name, 122).flowers)) for name in NAMES}

    assert share.pop("winter rapeseed") > 0.15
    assert max(share.values()) < 0.01


def test_barley_ripens_before_wheat_but_some_wheat_before_some_barley():
    barley, wheat = make_traits("winter barley"), make_traits("winter wheat")

    assert np.median(barley.senescence_day) + 10 < np.median(wheat.senescence_day)
    assert wheat.senescence_day.min() < barley.senescence_day.max()


def test_mowing_takes_leaf_away_and_it_grows_back():
    traits = make_traits("grassland")
    first = traits.mowing_days[:, 0]
    parcel = np.arange(NUM_FIELDS, dtype=np.int32)[None]
    ones = np.ones(parcel.shape, dtype=np.float32)

    before, after, later = (
        canopy_on(traits, parcel, (first + shift)[None], ones).lai for shift in (-1, 1, 25)
    )

    assert (after < 0.6 * before).all()
    assert np.median(later / after) > 1.5


def test_stubble_follows_the_harvest_until_it_is_ploughed_in():
    traits = make_traits("winter wheat")
    parcel = np.arange(NUM_FIELDS, dtype=np.int32)[None]
    ones = np.ones(parcel.shape, dtype=np.float32)
    standing = traits.tillage_day > traits.harvest_day + 1

    stubble = canopy_on(traits, parcel, (traits.harvest_day + 0.5)[None], ones).straw[0]
    ploughed = canopy_on(traits, parcel, (traits.tillage_day + 0.5)[None], ones).straw[0]

    assert (stubble[standing] > 0.5).all()
    assert (ploughed < 0.2).all()


def test_vigour_makes_the_canopy_denser():
    assert (canopy("maize", 205, vigour=1.2).lai >= canopy("maize", 205, vigour=0.8).lai).all()
