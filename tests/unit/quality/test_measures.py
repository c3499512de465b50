"""Gaps, twins, order and quantiles of ragged series."""

import numpy as np
import pytest

from tessera_core.domain.dpixel import Series
from tessera_core.quality.measures import (
    days_in_year,
    distribution,
    is_in_time_order,
    longest_gap,
    longest_gaps,
    masked_median,
    num_valid_by_month,
    num_with_twin,
)


def series(*pixels: list[tuple[int, int, bool]]) -> Series:
    """Return one-band d-pixels from (day, value, is valid) triples."""
    flat = [entry for pixel in pixels for entry in pixel]
    return Series(
        values=np.array([[value] for _, value, _ in flat], np.uint16).reshape(-1, 1),
        day_of_year=np.array([day for day, _, _ in flat], np.uint16),
        offsets=np.cumsum([0, *(len(pixel) for pixel in pixels)]).astype(np.int64),
        valid=np.array([valid for _, _, valid in flat], np.bool_),
    )


def random_series(seed: int) -> Series:
    """Return ragged d-pixels, some empty, some without a valid observation."""
    rng = np.random.default_rng(seed)
    pixels = []
    for _ in range(40):
        days = np.sort(rng.choice(np.arange(1, 366), size=rng.integers(0, 9), replace=False))
        pixels.append(
            [(int(day), int(rng.integers(0, 3)), bool(rng.random() < 0.6)) for day in days]
        )
    return series(*pixels)


def test_a_leap_year_has_a_day_more():
    assert [days_in_year(year) for year in (1900, 2018, 2020)] == [365, 365, 366]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([100, 101, 200], (165, 201)),
        ([150, 300], (149, 1)),
        ([10, 200, 200, 210], (189, 11)),
        ([], (365, 1)),
    ],
    ids=["after the last", "before the first", "between", "no day at all"],
)
def test_the_longest_gap_counts_empty_days_up_to_the_edges_of_the_year(days, expected):
    assert longest_gap(np.array(days, np.uint16), 365) == expected


def test_a_year_seen_every_day_has_no_gap():
    length, _ = longest_gap(np.arange(1, 366), 365)

    assert length == 0


@pytest.mark.parametrize("seed", range(5))
def test_gaps_of_all_pixels_equal_the_gap_of_each(seed):
    several = random_series(seed)

    gaps = longest_gaps(several, 365)

    for pixel in range(len(several)):
        part = slice(several.offsets[pixel], several.offsets[pixel + 1])
        days = several.day_of_year[part][several.valid[part]]
        assert gaps[pixel] == longest_gap(days, 365)[0]


def test_no_pixel_has_no_gap():
    assert longest_gaps(series(), 365).shape == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_twins_are_the_pixels_whose_whole_series_occurs_again(seed):
    several = random_series(seed)
    keys = []
    for pixel in range(len(several)):
        part = slice(several.offsets[pixel], several.offsets[pixel + 1])
        content = several.day_of_year[part].tobytes() + several.values[part].tobytes()
        keys.append(content if several.valid[part].any() else None)

    expected = sum(key is not None and keys.count(key) > 1 for key in keys)

    assert num_with_twin(several) == expected


def test_three_equal_pixels_are_three_twins():
    pixel = [(5, 700, True), (9, 0, False)]

    assert num_with_twin(series(pixel, [(5, 1, True)], pixel, pixel)) == 3


@pytest.mark.parametrize(
    "other",
    [
        [(5, 700, True), (10, 800, True)],
        [(5, 700, True), (9, 801, True)],
        [(5, 800, True), (9, 700, True)],
        [(5, 700, True)],
    ],
    ids=["another day", "another value", "values swapped", "one observation less"],
)
def test_pixels_that_differ_anywhere_are_no_twins(other):
    assert num_with_twin(series([(5, 700, True), (9, 800, True)], other)) == 0


def test_pixels_that_are_equal_because_they_are_empty_are_no_twins():
    assert num_with_twin(series([(5, 0, False)], [(5, 0, False)], [], [])) == 0


def test_valid_observations_are_counted_in_their_calendar_month():
    days = [1, 31, 32, 59, 60, 365, 365]
    pixel = [(day, 1, day != 59) for day in days]

    assert num_valid_by_month(series(pixel), 2018).tolist() == [2, 1, 1, *[0] * 8, 2]


def test_day_60_is_in_february_of_a_leap_year():
    assert num_valid_by_month(series([(60, 1, True)]), 2020)[1] == 1


def test_only_the_pixel_whose_days_run_backwards_is_out_of_order():
    ordered = [(5, 1, True), (5, 1, True), (300, 1, True)]
    backwards = [(5, 1, True), (4, 1, True)]

    flags = is_in_time_order(series(ordered, [], backwards, [(1, 1, True)], ordered))

    assert flags.tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("size", [1, 2, 99, 100, 101, 700, 4321])
def test_quantiles_are_those_of_the_sorted_values(dtype, size):
    limits = np.iinfo(dtype)
    values = np.random.default_rng(size).integers(
        limits.min, limits.max, size, dtype, endpoint=True
    )

    found = distribution(values)

    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99], method="inverted_cdf").tolist()
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert (found.quantile_01, found.median, found.quantile_99) == (low, middle, high)
    assert found.spread == high - low


@pytest.mark.parametrize("top", [np.uint16(65535), np.int16(32767)])
def test_zeros_and_saturated_values_are_counted_as_shares(top):
    found = distribution(np.array([0, 0, 0, top, 5], top.dtype))

    assert (found.num_values, found.share_zero, found.share_saturated) == (5, 0.6, 0.2)


def test_a_band_without_values_has_no_statistics():
    found = distribution(np.zeros(0, np.uint16))

    assert (found.num_values, found.median, found.share_zero) == (0, None, None)


def test_the_median_of_a_row_sees_its_valid_entries_only():
    values = np.array([[1.0, 5.0, 9.0], [4.0, 8.0, 100.0], [7.0, 7.0, 7.0]])
    valid = np.array([[True, True, True], [True, True, False], [False, False, False]])

    np.testing.assert_array_equal(masked_median(values, valid), [5, 6, np.nan])
