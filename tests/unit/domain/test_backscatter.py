"""Backscatter: the coding that all released weights expect, doubled dB and truncation included."""

import numpy as np
import pytest

from tessera_core.domain.backscatter import (
    MISSING,
    SCALED_MAX,
    power_from_scaled_db,
    present_mask,
    scaled_db_from_power,
)


@pytest.mark.parametrize(
    ("power", "scaled_db"),
    [
        (0.1, 6000),  # -20, not the -10 dB that it is: the reference doubles, and so do we
        (1.0, 10_000),
        (10.0, 14_000),
        (10 ** (-15.001 / 20), 6999),  # 6999.8: cut off, not rounded
        (10**-2.5, MISSING),  # -25 dB gamma0 is where the scale begins
        (1e-3, MISSING),
        (1e10, SCALED_MAX),
    ],
)
def test_power_is_coded_as_the_reference_does(power, scaled_db):
    coded = scaled_db_from_power(np.array([power]))

    assert coded.tolist() == [scaled_db]
    assert coded.dtype == np.int16


@pytest.mark.parametrize("power", [0.0, -0.0, -1.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_a_power_is_missing(power, dtype):
    assert scaled_db_from_power(np.array([[power]], dtype)).tolist() == [[MISSING]]


def test_a_missing_value_has_no_power():
    power = power_from_scaled_db(np.array([MISSING, 6000], np.int16))

    assert np.isnan(power[0])
    assert power[1] == pytest.approx(0.1, rel=1e-6)
    assert power.dtype == np.float32


def test_one_polarisation_is_enough_to_be_present():
    values = np.array([[[0, 0], [5, 0]], [[0, 5], [5, 5]]], np.int16)

    assert present_mask(values).tolist() == [[False, True], [True, True]]


def test_an_empty_series_has_nothing_present():
    assert present_mask(np.zeros((0, 2), np.int16)).shape == (0,)


def test_float64_codes_equal_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "preprocess.npz")

    coded = scaled_db_from_power(golden["s1.input_float64"])

    assert np.array_equal(coded, golden["s1.code_float64"])


def test_float32_codes_are_within_one_step_of_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "preprocess.npz")

    coded = scaled_db_from_power(golden["s1.input_float32"])

    difference = coded.astype(int) - golden["s1.code_float32"].astype(int)
    assert np.abs(difference).max() <= 1


def test_an_image_equals_the_reference_inside_its_region(shared_data):
    golden = np.load(shared_data / "parity" / "preprocess.npz")

    coded = np.where(golden["s1.roi_same"] == 1, scaled_db_from_power(golden["s1.image"]), 0)

    assert np.abs(coded - golden["s1.image_code_same"].astype(int)).max() <= 1
