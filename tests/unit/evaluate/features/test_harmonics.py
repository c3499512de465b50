from dataclasses import replace

import numpy as np
from hypothesis import given

from tessera_core.domain.dpixel import DPixels
from tessera_core.scoring.features.harmonics import NUM_HARMONICS, harmonic_features
from tessera_core.testing.observations import pixels_as_lists
from tessera_core.testing.pixels import make_pixels, random_pixels
from tessera_core.testing.strategies import dpixels
from tests.unit.evaluate.features.slowly import by_band


def fit_slowly(observed):
    """Return mean, cosine, sine, and both of two cycles, by least squares with held-back cycles.

    Each penalty is one more observation: of nothing, at the weight of its root.
    """
    rows, wanted = [], []
    for day, value in observed:
        angle = 2 * np.pi * day / 366
        rows.append([1, np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)])
        wanted.append(value)
    for term, penalty in enumerate([1e-6, 1, 1, 1, 1]):
        rows.append(list(np.eye(5)[term] * penalty**0.5))
        wanted.append(0)
    return np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]


def assert_equal_the_reference(pixels):
    features = harmonic_features(pixels)

    assert features.shape == (len(pixels), NUM_HARMONICS)
    assert features.dtype == np.float32
    for row, pixel in zip(features, pixels_as_lists(pixels), strict=True):
        expected = np.concatenate([fit_slowly(observed) for observed in by_band(pixel)])
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)


@given(pixels=dpixels())
def test_harmonics_of_all_pixels_at_once_equal_a_fit_of_each(pixels: DPixels):
    assert_equal_the_reference(pixels)


def test_dense_series_equal_the_reference_too():
    assert_equal_the_reference(random_pixels(8, seed=1, max_clear=60, max_radar=40))


def test_a_sensor_that_never_saw_the_pixel_gives_zeros():
    features = harmonic_features(make_pixels([0, 3], [0, 0], [2, 0], seed=0, num_unusable=2))

    assert np.isfinite(features).all()
    assert not features[0, :60].any()
    assert features[1, :50].all()
    assert not features[1, 50:].any()


def test_a_planted_season_is_read_off():
    pixels = make_pixels([60], [0], [0], seed=0)
    angle = 2 * np.pi * pixels.optical.day_of_year / 366
    season = 3000 + 1000 * np.cos(angle) - 500 * np.sin(2 * angle)
    values = np.repeat(season.round().astype(np.uint16)[:, None], 10, axis=1)
    planted = replace(pixels, optical=replace(pixels.optical, values=values))

    mean, cosine, sine, cosine2, sine2 = harmonic_features(planted)[0, :5]

    assert abs(mean - 0.3) < 0.01
    assert abs(cosine - 0.1) < 0.01
    assert abs(sine2 + 0.05) < 0.01
    assert abs(sine) < 0.01
    assert abs(cosine2) < 0.01


def test_a_polarisation_that_is_missing_is_not_taken_for_a_very_low_one():
    pixels = make_pixels([1], [6], [0], seed=0)
    values = pixels.ascending.values.copy()
    values[::2, 1] = 0
    holed = replace(pixels, ascending=replace(pixels.ascending, values=values))

    assert_equal_the_reference(holed)
