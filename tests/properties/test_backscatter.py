"""Backscatter: coding loses less than one step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.domain.backscatter import (
    MISSING,
    SCALED_MAX,
    STEPS_PER_DB,
    power_from_scaled_db,
    scaled_db_from_power,
)

STEP = 10 ** (1 / STEPS_PER_DB / 20)
"""Factor in power between one code and the next."""

ROUNDING = 1e-5
"""Relative; float32 holds seven digits, of which the power of ten costs one."""


@given(st.floats(min_value=3.3e-3, max_value=1e5))
def test_power_comes_back_within_one_step(power):
    coded = scaled_db_from_power(np.array([power]))

    back = float(power_from_scaled_db(coded)[0])
    assert back * (1 - ROUNDING) <= power < back * STEP * (1 + ROUNDING)


@given(st.integers(1, SCALED_MAX))
def test_every_code_survives_the_way_to_power_and_back_within_one_step(code):
    power = power_from_scaled_db(np.array([code], np.int16))

    again = int(scaled_db_from_power(power.astype(np.float64))[0])
    assert abs(again - code) <= 1


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_every_float_becomes_missing_or_a_code_in_range(values):
    coded = scaled_db_from_power(np.array(values, np.float32))

    usable = np.isfinite(values) & (np.array(values) > 0)
    assert coded.min() >= 0
    assert (coded[~usable] == MISSING).all()


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_more_power_never_has_a_smaller_code(first, second):
    low, high = sorted((first, second))

    codes = scaled_db_from_power(np.array([low, high]))

    assert codes[0] <= codes[1]
