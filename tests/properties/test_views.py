"""Views: for every validity, length and seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tessera_core.domain.views import draw_view
from tessera_core.testing.strategies import SEEDS

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 60)))
LENGTHS = st.integers(1, 64)


@given(valid=MASKS, length=LENGTHS, seed=SEEDS)
def test_a_view_sees_only_valid_observations_in_time_order(valid, length, seed):
    view = draw_view(valid, length, np.random.default_rng(seed))

    has_any = valid.any(axis=1)
    assert view.shape == (len(valid), length)
    assert (np.diff(view, axis=1) >= 0).all()
    assert np.take_along_axis(valid, view, axis=1)[has_any].all()
    assert (view[~has_any] == 0).all()


@given(valid=MASKS, length=LENGTHS, seed=SEEDS)
def test_no_observation_is_repeated_where_there_are_enough(valid, length, seed):
    view = draw_view(valid, length, np.random.default_rng(seed))

    enough = valid.sum(axis=1) >= length
    assert (np.diff(view[enough], axis=1) > 0).all()


@given(valid=MASKS, length=LENGTHS, seed=SEEDS)
def test_the_seed_decides_the_view(valid, length, seed):
    first, second = (draw_view(valid, length, np.random.default_rng(seed)) for _ in range(2))

    assert np.array_equal(first, second)
