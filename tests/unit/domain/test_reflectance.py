"""Reflectance: the offset of 2022 leaves once, and only from products that carry it."""

from datetime import date

import numpy as np
import pytest

from tessera_core.domain.reflectance import OffsetPolicy, carries_offset, remove_offset


@pytest.mark.parametrize(
    ("acquired", "carries"),
    [
        (date(2017, 6, 1), False),
        (date(2022, 1, 24), False),
        (date(2022, 1, 25), False),
        (date(2022, 1, 26), True),
        (date(2024, 7, 15), True),
    ],
)
def test_raw_products_carry_the_offset_after_the_25th_of_january_2022(acquired, carries):
    assert carries_offset(acquired, OffsetPolicy.BY_DATE) is carries


def test_a_source_that_removed_the_offset_never_carries_it():
    assert not carries_offset(date(2024, 7, 15), OffsetPolicy.REMOVED_UPSTREAM)


def test_values_below_the_offset_stay_and_do_not_wrap_around():
    numbers = np.array([0, 1, 999, 1000, 1001, 11_000, 65_535], np.uint16)

    removed = remove_offset(numbers)

    assert removed.tolist() == [0, 1, 999, 0, 1, 10_000, 64_535]
    assert removed.dtype == np.uint16


def test_the_input_is_left_as_it_was():
    numbers = np.array([[2000]], np.uint16)

    remove_offset(numbers)

    assert numbers.tolist() == [[2000]]


@pytest.mark.parametrize(
    ("policy", "key"),
    [(OffsetPolicy.BY_DATE, "s2.mpc_uint16"), (OffsetPolicy.REMOVED_UPSTREAM, "s2.aws_uint16")],
)
def test_harmonised_numbers_equal_the_reference_on_every_date(shared_data, policy, key):
    golden = np.load(shared_data / "parity" / "preprocess.npz")
    numbers = golden["s2.dn_uint16"]

    for acquired, expected in zip(golden["s2.dates"], golden[key], strict=True):
        carries = carries_offset(date.fromisoformat(str(acquired)), policy)
        ours = remove_offset(numbers) if carries else numbers
        assert np.array_equal(ours, expected), acquired
