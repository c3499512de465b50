"""Stored observations to model input."""

import numpy as np

from tessera_core.domain.norms import BandStats
from tessera_core.model.tokens import series_tokens
from tessera_core.testing.pixels import make_pixels


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
