"""Stored observations to model input."""

import numpy as np

from tessera_core.domain.norms import BandStats
from tessera_core.model.tokens import optical_stream, radar_stream, series_tokens
from tessera_core.testing.pixels import NORMS, make_pixels, random_pixels

ROWS = np.arange(6)


def test_a_token_is_each_band_normalised_and_the_raw_day_last():
    pixels = make_pixels([2], [1], [1], seed=1)
    stats = BandStats(mean=tuple(range(10)), std=tuple(range(1, 11)))

    tokens = series_tokens(pixels.optical, np.array([[0, 1]]), stats)

    stored = pixels.optical.values.astype(np.float64)
    expected = (stored - np.arange(10)) / np.arange(1, 11)
    assert tokens.shape == (1, 2, 11)
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(tokens[0, :, :10], expected, rtol=1e-6)
    np.testing.assert_array_equal(tokens[0, :, 10], pixels.optical.day_of_year)


def test_a_value_below_the_mean_is_negative_and_does_not_wrap_around():
    pixels = make_pixels([1], [0], [0], seed=1)
    above = float(pixels.optical.values.max()) + 1
    stats = BandStats(mean=(above,) * 10, std=(1.0,) * 10)

    tokens = series_tokens(pixels.optical, np.array([[0]]), stats)

    assert (tokens[..., :10] < 0).all()


def test_the_optical_stream_is_valid_only_where_an_observation_is_clear():
    pixels = random_pixels(6, seed=2)

    stream = optical_stream(pixels, ROWS, NORMS)

    np.testing.assert_array_equal(stream.valid_BT.sum(axis=1), pixels.optical.num_valid())
    assert stream.tokens_BTC.shape == (*stream.valid_BT.shape, 11)
    assert not stream.valid_BT.all()


def test_radar_holds_ascending_before_descending_each_with_its_own_statistics():
    pixels = make_pixels([1], [2], [3], seed=3)

    stream = radar_stream(pixels, np.array([0]), NORMS)

    ascending = NORMS.s1_ascending.apply(pixels.ascending.values)
    descending = NORMS.s1_descending.apply(pixels.descending.values)
    np.testing.assert_array_equal(stream.tokens_BTC[0, :2, :2], ascending)
    np.testing.assert_array_equal(stream.tokens_BTC[0, 2:, :2], descending)
    np.testing.assert_array_equal(stream.tokens_BTC[0, :2, 2], pixels.ascending.day_of_year)
    assert NORMS.s1_ascending != NORMS.s1_descending


def test_missing_radar_stays_invalid_although_zero_normalises_to_another_value():
    pixels = make_pixels([1], [2], [0], seed=3, num_unusable=2)

    stream = radar_stream(pixels, np.array([0]), NORMS)

    assert stream.valid_BT.sum() == 2
    assert (stream.tokens_BTC[~stream.valid_BT][:, :2] != 0).all()


def test_taking_keeps_the_asked_order_and_repetition():
    pixels = make_pixels([3], [0], [0], seed=4)
    stream = optical_stream(pixels, np.array([0]), NORMS)

    taken = stream.take(np.array([[2, 0, 0, 1]]))

    np.testing.assert_array_equal(taken[0], stream.tokens_BTC[0, [2, 0, 0, 1]])


def test_a_dpixel_without_valid_observation_gets_zeros_day_included():
    pixels = make_pixels([0, 2], [0, 0], [0, 0], seed=5, num_unusable=4)
    stream = optical_stream(pixels, np.array([0, 1]), NORMS)

    taken = stream.take(np.zeros((2, 3), np.int64))

    assert (taken[0] == 0).all()
    assert (taken[1] != 0).any()
    assert (stream.tokens_BTC[0] != 0).any(), "the stream itself is not changed"


def test_dpixels_that_no_orbit_ever_saw_get_zero_rows_of_the_asked_length():
    pixels = make_pixels([1, 1], [0, 0], [0, 0], seed=6)
    stream = radar_stream(pixels, np.array([0, 1]), NORMS)

    taken = stream.take(np.zeros((2, 5), np.int64))

    assert stream.tokens_BTC.shape == (2, 0, 3)
    assert taken.shape == (2, 5, 3)
    assert (taken == 0).all()
