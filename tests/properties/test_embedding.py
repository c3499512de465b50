"""Quantisation: never off by more than half a step, whatever the vector."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tessera_core.domain.embedding import CODE_MAX, Coding, quantise

# Vectors of a model are far from both ends; the step of the smallest is still a normal float32.
FINITE = st.floats(min_value=-(2.0**60), max_value=2.0**60, width=32)
VECTORS = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=FINITE)
WITH_NAN = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.one_of(FINITE, st.just(np.float32(np.nan))),
)


@given(VECTORS, st.sampled_from(Coding))
def test_the_dequantised_value_is_within_half_a_step(values, coding):
    embedding = quantise(values, coding)

    error = np.abs(embedding.dequantise().astype(np.float64) - values)
    # Code times scale is itself rounded to float32.
    rounding = np.abs(values).max(axis=-1, keepdims=True) * np.finfo(np.float32).eps
    assert (error <= embedding.scale[:, None].astype(np.float64) / 2 + rounding).all()


@given(WITH_NAN)
def test_no_data_is_exactly_where_a_value_is_missing(values):
    embedding = quantise(values)

    missing = np.isnan(values).any(axis=-1)
    assert np.array_equal(np.isnan(embedding.scale), missing)
    assert (embedding.codes[missing] == 0).all()
    assert (embedding.scale[~missing] > 0).all()


@given(VECTORS)
def test_codes_are_symmetric(values):
    assert np.array_equal(quantise(-values).codes, -quantise(values).codes)
    assert np.abs(quantise(values).codes.astype(int)).max() <= CODE_MAX


@given(VECTORS, st.sampled_from(Coding))
def test_no_code_had_to_be_clipped(values, coding):
    embedding = quantise(values, coding)

    assert np.array_equal(np.rint(values / embedding.scale[:, None]), embedding.codes)


@given(VECTORS)
def test_a_vector_does_not_depend_on_its_neighbours(values):
    together = quantise(values)

    for index in range(len(values)):
        alone = quantise(values[index])
        assert np.array_equal(alone.codes, together.codes[index])
        assert alone.scale == together.scale[index]


@given(VECTORS)
def test_quantising_again_changes_no_code(values):
    once = quantise(values)

    assert np.array_equal(quantise(once.dequantise()).codes, once.codes)
