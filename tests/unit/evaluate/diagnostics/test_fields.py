"""Between and within fields, on planted fields; against all pairs counted one by one."""

import numpy as np
import pytest

from tessera_core.diagnostics.fields import measure_fields
from tessera_core.diagnostics.stripes import coverage_of, measure_stripes
from tessera_core.testing.pixels import make_pixels

NUM_FIELDS, PER_FIELD, WIDTH = 30, 12, 8
FIELD = np.repeat(np.arange(NUM_FIELDS) * 7 - 40, PER_FIELD)


def planted(between, seed=1):
    """Noise of deviation 1 within fields whose centres have deviation ``between``."""
    rng = np.random.default_rng(seed)
    centres = between * rng.normal(size=(NUM_FIELDS, WIDTH))
    return np.repeat(centres, PER_FIELD, axis=0) + rng.normal(size=(len(FIELD), WIDTH))


def half_covered(low=3, high=6):
    """Coverage in which each second d-pixel of every field has more ascending passes."""
    coverage = np.full((len(FIELD), 3), 10)
    coverage[:, 1] = np.where(np.arange(len(FIELD)) % 2, high, low)
    return coverage


def test_the_ratio_is_that_of_all_pairs_with_equal_weight_of_fields():
    values = planted(between=2)[: 4 * PER_FIELD]
    field = np.array([0] * 5 + [1] * 20 + [2] * 22 + [3])
    square = ((values[:, None] - values[None]) ** 2).sum(-1)
    several = range(3)
    within = np.mean([_pairs(square, field, a, a) for a in several])
    between = np.mean([_pairs(square, field, a, b) for a in several for b in range(a)])

    reading = measure_fields(values, field)

    assert reading.value == pytest.approx(np.sqrt(between / within))
    assert reading.more["num_fields"] == 3


def _pairs(square, field, a, b):
    block = square[field == a][:, field == b]
    if a == b:
        return block[np.triu_indices(len(block), 1)].mean()
    return block.mean()


def test_fields_that_cannot_be_told_apart_have_ratio_1_and_far_ones_more():
    assert measure_fields(planted(between=0), FIELD).value == pytest.approx(1, abs=0.01)
    assert measure_fields(planted(between=3), FIELD).value == pytest.approx(np.sqrt(10), rel=0.1)


def test_a_common_mean_does_not_matter_for_fields():
    near, far = planted(between=1), planted(between=1) + 1e6

    assert measure_fields(far, FIELD).value == pytest.approx(measure_fields(near, FIELD).value)


def test_fields_without_two_d_pixels_give_a_reason():
    reading = measure_fields(planted(1), np.arange(len(FIELD)))

    assert reading.value is None
    assert reading.reason == "0 fields have two d-pixels or more, expected two such fields"


def test_equal_d_pixels_within_fields_give_a_reason():
    constant = np.repeat(planted(1)[:NUM_FIELDS], PER_FIELD, axis=0)

    assert "of a field have the same embedding" in measure_fields(constant, FIELD).reason
    assert "of a field have the same embedding" in (
        measure_stripes(constant, FIELD, half_covered()).reason
    )


def test_embeddings_that_know_nothing_of_coverage_have_no_stripes():
    shares = [
        measure_stripes(planted(between=3, seed=seed), FIELD, half_covered()).value
        for seed in range(40)
    ]

    assert np.mean(shares) == pytest.approx(0, abs=0.001)
    assert max(shares) < 0.02


def test_a_planted_stripe_is_found_with_its_share_of_the_variance():
    coverage = half_covered()
    step = 2 * (coverage[:, 1] > 3)
    striped = planted(between=3)
    striped[:, 0] += step

    reading = measure_stripes(striped, FIELD, coverage)

    # Within fields: 8 dimensions of variance 1, and a step of 2 between halves, variance 1.
    assert reading.value == pytest.approx(1 / 9, abs=0.02)
    assert reading.more["s1"] == pytest.approx(reading.value, abs=1e-9)
    assert reading.more["s2"] == 0
    assert reading.more["against_fields"] == pytest.approx(1 / (9 * WIDTH), abs=0.01)


def test_an_orbit_that_is_missing_is_seen_like_one_that_is_thin():
    coverage = half_covered(low=0, high=1)
    striped = planted(between=3)
    striped[coverage[:, 1] == 0] += 5

    assert measure_stripes(striped, FIELD, coverage).value > 0.8


def test_only_fields_that_coverage_divides_are_looked_at():
    coverage = half_covered()
    coverage[FIELD[0] != FIELD] = 10
    striped = planted(between=3)
    striped[:PER_FIELD, 0] += 50 * (coverage[:PER_FIELD, 1] > 3)

    reading = measure_stripes(striped, FIELD, coverage)

    assert reading.value > 0.9
    assert (reading.more["num_fields"], reading.more["num_pixels"]) == (1, PER_FIELD)


def test_a_map_without_a_difference_of_coverage_has_no_score_but_a_reason():
    by_field = np.stack([FIELD, FIELD, FIELD], axis=1) + 40

    reading = measure_stripes(planted(1), FIELD, by_field)

    assert reading.to_dict() == {
        "value": None,
        "reason": "no field holds d-pixels of different coverage",
    }


def test_too_few_d_pixels_for_the_causes_give_a_reason():
    coverage = np.array([[1, 0, 0], [2, 3, 0]])

    reading = measure_stripes(planted(1)[:2], np.zeros(2, np.int64), coverage)

    assert "2 d-pixels in 1 fields of different coverage are too few" in reading.reason


def test_coverage_counts_usable_observations_per_sensor_and_orbit():
    pixels = make_pixels([4, 1], [0, 2], [5, 0], seed=1, num_unusable=2)

    assert coverage_of(pixels).tolist() == [[4, 0, 5], [1, 2, 0]]
