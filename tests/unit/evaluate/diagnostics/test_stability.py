"""Two date halves of one d-pixel, and what int8 takes away."""

import numpy as np
import pytest

from tessera_core.diagnostics.coding import measure_coding
from tessera_core.diagnostics.stability import measure_stability, split_dates
from tessera_core.domain.embedding import Coding
from tessera_core.testing.pixels import make_pixels, random_pixels
from tests.unit.model.made import written_pixels

RNG = np.random.default_rng(1)
CENTRES = RNG.normal(size=(400, 8))


def days(series):
    return [
        series.day_of_year[start:stop].tolist()
        for start, stop in zip(series.offsets, series.offsets[1:], strict=False)
    ]


def test_dates_of_each_sensor_go_alternately_to_the_halves():
    # (day, value, valid); the last of the first d-pixel is a cloud, day 30 was seen twice.
    optical = [[(10, 1, True), (30, 2, True), (30, 3, True), (50, 4, True), (60, 5, False)]]
    ascending = [[(5, 1, True), (7, 1, True), (9, 1, True)]]
    descending = [[(6, 1, True)]]

    first, second, rows = split_dates(written_pixels(optical, ascending, descending))

    assert rows.tolist() == [0]
    assert (days(first.optical), days(second.optical)) == ([[10, 50]], [[30, 30]])
    assert (days(first.ascending), days(second.ascending)) == ([[5, 9]], [[7]])
    assert (days(first.descending), days(second.descending)) == ([[6]], [[]])
    assert second.optical.values[:, 0].tolist() == [2, 3]


def test_halves_share_no_date_and_hold_every_usable_observation():
    pixels = random_pixels(60, seed=3)

    first, second, rows = split_dates(pixels)

    kept = pixels.take(rows)
    for name in ("optical", "ascending", "descending"):
        parts = [getattr(half, name) for half in (first, second)]
        assert all(part.valid.all() for part in parts)
        total = parts[0].num_valid() + parts[1].num_valid()
        np.testing.assert_array_equal(total, getattr(kept, name).num_valid())
        for a, b in zip(days(parts[0]), days(parts[1]), strict=True):
            assert not set(a) & set(b)
            assert abs(len(set(a)) - len(set(b))) <= 1


def test_d_pixels_with_a_single_clear_date_are_left_out():
    pixels = make_pixels([1, 0, 2, 9], [3, 3, 3, 3], [0, 0, 0, 0], seed=1)

    *_, rows = split_dates(pixels)

    assert set(rows.tolist()) <= {2, 3}
    assert 3 in rows


def test_equal_halves_are_perfectly_stable():
    reading = measure_stability(CENTRES, CENTRES)

    assert reading.value == pytest.approx(1)
    assert reading.more == {
        "same_neighbour": 1, "found_again": 1, "distance_ratio": 0, "num_pixels": 400,
    }  # fmt: skip


def test_halves_that_have_nothing_in_common_are_strangers():
    reading = measure_stability(CENTRES, RNG.normal(size=CENTRES.shape))

    assert abs(reading.value) < 0.05
    assert reading.more["distance_ratio"] == pytest.approx(1, abs=0.05)
    assert reading.more["same_neighbour"] < 0.03
    assert reading.more["found_again"] < 0.03


def test_noise_between_halves_is_measured_against_random_pairs():
    noisy = CENTRES + 0.1 * RNG.normal(size=CENTRES.shape)

    reading = measure_stability(CENTRES, noisy)

    square = ((CENTRES[:, None] - noisy[None]) ** 2).sum(-1)
    strangers = square[~np.eye(400, dtype=bool)].mean()
    assert reading.more["distance_ratio"] == pytest.approx(
        np.sqrt(np.trace(square) / 400 / strangers)
    )
    assert reading.value == pytest.approx(0.995, abs=0.002)
    assert reading.more["found_again"] > 0.99


def test_a_shift_of_one_half_counts_as_unstable_and_a_common_mean_does_not():
    shift = np.full(8, 3.0)

    assert measure_stability(CENTRES, CENTRES + shift).value < 0
    assert measure_stability(CENTRES + shift, CENTRES + shift).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [(CENTRES[:0], "0 d-pixels have 2 clear"), (np.ones((5, 3)), "all embeddings are equal")],
)
def test_what_cannot_be_measured_has_a_reason(values, reason):
    reading = measure_stability(values, values)

    assert reading.value is None
    assert reason in reading.reason


def test_even_dimensions_lose_a_hundredth_to_int8_and_one_loud_one_costs_all_others():
    even = RNG.normal(size=(600, 32))
    loud = even.copy()
    loud[:, 0] += 200

    quiet, noisy = measure_coding(even, Coding.V2), measure_coding(loud, Coding.V2)

    assert 0.003 < quiet.value < 0.01
    assert quiet.more["cosine"] > 0.9999
    assert quiet.more["neighbour_overlap"] > 0.97
    assert noisy.value > 0.3
    assert noisy.more["neighbour_overlap"] < 0.7


def test_codes_of_equal_embeddings_have_nothing_to_lose():
    assert measure_coding(np.ones((5, 3)), Coding.V1).reason == "all embeddings are equal"
