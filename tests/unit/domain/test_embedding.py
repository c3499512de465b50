"""Embeddings as stored: symmetric codes, NaN for no data, and rounding as the reference's."""

import numpy as np
import pytest

from tessera_core.domain.embedding import CODE_MAX, Embedding, quantise
from tessera_core.errors import RecordError


@pytest.mark.parametrize(
    ("codes", "scale", "message"),
    [
        (np.zeros((2, 4), np.int16), np.ones(2, np.float32), "got int16 and float32"),
        (np.zeros((2, 4), np.int8), np.ones(2), "got int8 and float64"),
        (
            np.zeros((2, 4), np.int8),
            np.ones(3, np.float32),
            r"codes of shape \(2, 4\) need scales of shape \(2,\), got \(3,\)",
        ),
        (np.full((1, 4), -128, np.int8), np.ones(1, np.float32), r"codes hold -128, expected -127"),
    ],
)
def test_codes_and_scales_that_do_not_fit_are_refused(codes, scale, message):
    with pytest.raises(RecordError, match=message):
        Embedding(codes=codes, scale=scale)


def test_the_largest_value_gets_the_largest_code():
    embedding = quantise(np.array([[2.0, -4.0, 0.0]], np.float32))

    assert embedding.codes.tolist() == [[64, -CODE_MAX, 0]]
    assert embedding.scale == pytest.approx([4 / 127])


def test_ties_are_rounded_to_even():
    embedding = quantise(np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5]], np.float32))

    assert embedding.codes.tolist() == [[127, 0, 2, 2, 0, -2]]


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_a_vector_with_one_value_that_is_not_finite_is_no_data_as_a_whole(fault):
    values = np.ones((2, 3), np.float32)
    values[0, 1] = fault

    embedding = quantise(values)

    assert embedding.codes[0].tolist() == [0, 0, 0]
    assert np.isnan(embedding.scale).tolist() == [True, False]
    assert np.isnan(embedding.dequantise()).all(axis=-1).tolist() == [True, False]


def test_a_zero_vector_is_data_and_stays_zero():
    embedding = quantise(np.zeros((1, 4), np.float32))

    assert embedding.scale[0] > 0
    assert embedding.dequantise().tolist() == [[0, 0, 0, 0]]


def test_any_leading_shape_is_kept():
    embedding = quantise(np.ones((2, 3, 4, 5), np.float32))

    assert embedding.codes.shape == (2, 3, 4, 5)
    assert embedding.scale.shape == (2, 3, 4)
    assert quantise(np.ones((0, 5), np.float32)).dequantise().shape == (0, 5)


def test_codes_and_scales_equal_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "quantize.npz")

    embedding = quantise(golden["input"])

    assert np.array_equal(embedding.codes, golden["v2.int8"])
    np.testing.assert_allclose(embedding.scale, golden["v2.scale"], rtol=1e-6)
    np.testing.assert_allclose(embedding.dequantise(), golden["v2.dequantized"], rtol=1e-6)
