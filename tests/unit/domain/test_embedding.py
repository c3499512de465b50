"""Embeddings as stored: symmetric codes, NaN for no data, and rounding as the reference's."""

import numpy as np
import pytest

from tessera_core.domain.embedding import CODE_MAX, Coding, Embedding, quantise
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


@pytest.mark.parametrize("coding", Coding)
def test_a_zero_vector_is_data_and_stays_zero(coding):
    embedding = quantise(np.zeros((1, 4), np.float32), coding)

    assert embedding.scale[0] > 0
    assert embedding.dequantise().tolist() == [[0, 0, 0, 0]]


def test_any_leading_shape_is_kept():
    embedding = quantise(np.ones((2, 3, 4, 5), np.float32))

    assert embedding.codes.shape == (2, 3, 4, 5)
    assert embedding.scale.shape == (2, 3, 4)
    assert quantise(np.ones((0, 5), np.float32)).dequantise().shape == (0, 5)


def test_v1_floors_the_scale_and_v2_the_largest_value():
    values = np.array([[1e-8, -3e-8], [1e-13, 0]], np.float32)

    first, second = quantise(values, Coding.V1), quantise(values, Coding.V2)

    assert first.scale == pytest.approx([1e-8, 1e-8])
    assert first.codes.tolist() == [[1, -3], [0, 0]]
    assert second.scale == pytest.approx([3e-8 / 127, 1e-12 / 127])
    assert second.codes.tolist() == [[42, -127], [13, 0]]


def test_the_rules_agree_on_values_of_ordinary_size():
    values = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)

    first, second = quantise(values, Coding.V1), quantise(values, Coding.V2)

    assert np.array_equal(first.codes, second.codes)
    assert np.array_equal(first.scale, second.scale)


@pytest.mark.parametrize("coding", Coding)
def test_codes_and_scales_equal_the_reference(shared_data, coding):
    golden = np.load(shared_data / "parity" / "quantize.npz")

    embedding = quantise(golden["input"], coding)

    assert np.array_equal(embedding.codes, golden[f"{coding}.int8"])
    np.testing.assert_allclose(embedding.scale, golden[f"{coding}.scale"], rtol=1e-6)


def test_one_scale_for_a_whole_array_equals_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "quantize.npz")

    embedding = quantise(golden["input"].reshape(-1), Coding.V1)

    assert np.array_equal(embedding.codes, golden["v1_whole_tensor.int8"].reshape(-1))
    np.testing.assert_allclose(embedding.scale, golden["v1_whole_tensor.scale"], rtol=1e-6)


def test_dequantised_values_equal_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "quantize.npz")

    embedding = quantise(golden["input"])

    np.testing.assert_allclose(embedding.dequantise(), golden["v2.dequantized"], rtol=1e-6)
