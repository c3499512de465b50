import statistics

import numpy as np
import pytest
from hypothesis import given

from tessera_core.domain.dpixel import DPixels
from tessera_core.scoring.features.monthly import NUM_RAW_FEATURES, fill_months, raw_features
from tessera_core.testing.observations import pixels_as_lists
from tessera_core.testing.pixels import make_pixels, random_pixels
from tessera_core.testing.strategies import dpixels


def month_of(day):
    return (day - 1) * 12 // 366


def fill_slowly(months):
    """Return a list without None: neighbours joined by straight lines, ends held."""
    seen = [month for month, value in enumerate(months) if value is not None]
    if not seen:
        return [0.0] * len(months)
    return [float(np.interp(month, seen, [months[m] for m in seen])) for month in range(12)]


def features_slowly(pixel):
    """Return the features of one d-pixel, one observation at a time."""
    optical, ascending, descending = pixel
    result = []
    for band in range(10):
        months = [
            [values[band] for day, values, valid in optical if valid and month_of(day) == month]
            for month in range(12)
        ]
        result += fill_slowly([statistics.median(month) if month else None for month in months])
    for orbit in (ascending, descending):
        for band in range(2):
            months = [
                [
                    (values[band] / 200 - 50) / 2
                    for day, values, _ in orbit
                    if values[band] != 0 and month_of(day) == month
                ]
                for month in range(12)
            ]
            result += fill_slowly([statistics.mean(month) if month else None for month in months])
    return result


@given(pixels=dpixels())
def test_vectorised_features_equal_a_pixel_by_pixel_reference(pixels: DPixels):
    features = raw_features(pixels)

    assert features.shape == (len(pixels), NUM_RAW_FEATURES)
    for row, pixel in zip(features, pixels_as_lists(pixels), strict=True):
        np.testing.assert_allclose(row, features_slowly(pixel), rtol=1e-5, atol=1e-3)


def test_dense_series_equal_the_reference_too():
    pixels = random_pixels(8, seed=1, max_clear=60, max_radar=40)

    features = raw_features(pixels)

    for row, pixel in zip(features, pixels_as_lists(pixels), strict=True):
        np.testing.assert_allclose(row, features_slowly(pixel), rtol=1e-5, atol=1e-3)


def test_nothing_seen_gives_zeros_and_never_nan():
    features = raw_features(make_pixels([0, 3], [0, 0], [2, 0], seed=0, num_unusable=2))

    assert np.isfinite(features).all()
    assert not features[0, :120].any()
    assert features[1, :120].all()
    assert not features[1, 120:].any()


def test_a_gap_is_a_straight_line_between_its_neighbours():
    values = np.zeros((1, 12, 1))
    values[0, [2, 6], 0] = [10, 30]
    seen = values > 0

    filled = fill_months(values, seen)[0, :, 0]

    assert filled[:8].tolist() == [10, 10, 10, 15, 20, 25, 30, 30]


@pytest.mark.parametrize("day", [1, 366])
def test_the_first_and_last_day_fall_into_the_year(day):
    assert 0 <= month_of(day) <= 11
