"""Sampling rules: for every number of observations and length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.domain.sampling import (
    V2_SAMPLING,
    observation_keys,
    v1_0_positions,
    v1_1_positions,
    v2_positions,
)
from tessera_core.testing.strategies import SEEDS


def v2_of(num_usable, length):
    return v2_positions(np.array([num_usable]), length)[0]


@given(num_valid=st.integers(1, 600))
def test_a_bucket_uses_all_observations_equally_often_give_or_take_one(num_valid):
    bucket = int(V2_SAMPLING.lengths_of(np.array([num_valid]))[0])

    counts = np.bincount(v2_of(num_valid, bucket), minlength=num_valid)

    assert counts.sum() == bucket
    assert len(counts) == num_valid
    assert np.ptp(counts) <= 1
    assert num_valid > bucket or counts.min() >= 1


@given(num_valid=st.integers(1, 600), bucket=st.integers(1, 256))
def test_positions_at_any_length_name_observations_that_exist(num_valid, bucket):
    positions = v2_of(num_valid, bucket)

    assert len(positions) == bucket
    assert 0 <= positions.min() <= positions.max() < num_valid


@pytest.mark.parametrize("positions_of", [v1_1_positions, v2_positions])
@given(counts=st.lists(st.integers(1, 400), min_size=1, max_size=20), length=st.integers(1, 256))
def test_a_batch_is_its_dpixels_one_by_one(positions_of, counts, length):
    together = positions_of(np.array(counts), length)

    alone = [positions_of(np.array([count]), length)[0] for count in counts]

    assert np.array_equal(together, np.stack(alone))


@given(num_usable=st.integers(1, 90), length=st.integers(1, 64), seed=SEEDS)
def test_a_draw_names_observations_that_exist_in_time_order(num_usable, length, seed):
    content = np.arange(num_usable, dtype=np.uint64)[None]

    positions = v1_0_positions(observation_keys(content, seed), np.array([num_usable]), length)[0]

    assert len(positions) == length
    assert 0 <= positions[0] <= positions[-1] < num_usable
    step = 1 if num_usable >= length else 0
    assert (np.diff(positions) >= step).all()
