"""Bands: the order that every stored array and every released weight relies on."""

from dataclasses import FrozenInstanceError

import pytest

from tessera_core.domain.bands import (
    NUM_S1,
    NUM_S2,
    ORBITS,
    S1_BANDS,
    S1_NAMES,
    S2_BANDS,
    S2_NAMES,
)


def test_the_s2_order_is_that_of_the_method_and_not_of_the_wavelength():
    assert S2_NAMES == ("B04", "B02", "B03", "B08", "B8A", "B05", "B06", "B07", "B11", "B12")
    assert sorted(S2_NAMES) != list(S2_NAMES)


def test_radar_is_vv_then_vh_and_ascending_comes_first():
    assert S1_NAMES == ("VV", "VH")
    assert ORBITS == ("ascending", "descending")


def test_every_band_is_named_once():
    names = [band.name for band in (*S2_BANDS, *S1_BANDS)]
    common_names = [band.common_name for band in (*S2_BANDS, *S1_BANDS)]

    assert len(set(names)) == len(set(common_names)) == NUM_S2 + NUM_S1


def test_visible_and_near_infrared_bands_have_10_m_and_the_others_20_m():
    fine = {band.name for band in S2_BANDS if band.resolution_m == 10}
    coarse = {band.name for band in S2_BANDS if band.resolution_m == 20}

    assert fine == {"B02", "B03", "B04", "B08"}
    assert fine | coarse == set(S2_NAMES)


def test_a_band_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        S2_BANDS[0].name = "B01"
