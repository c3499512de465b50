from dataclasses import replace

import numpy as np
from hypothesis import given

from tessera_core.domain.dpixel import DPixels
from tessera_core.scoring.features.series import NUM_CHANNELS, NUM_STEPS, regular_series
from tessera_core.testing.observations import pixels_as_lists
from tessera_core.testing.pixels import make_pixels, random_pixels
from tessera_core.testing.strategies import dpixels
from tests.unit.evaluate.features.slowly import by_band

SENSORS = (range(10), range(10, 12), range(12, 14))


def series_slowly(pixel):
    """Return half-monthly means of one d-pixel, (24, 17), one observation at a time."""
    bands = [[[] for _ in range(24)] for _ in range(14)]
    for band, observed in enumerate(by_band(pixel)):
        for day, value in observed:
            bands[band][(day - 1) * 24 // 366].append(value)
    columns = []
    for steps in bands:
        seen = [step for step, values in enumerate(steps) if values]
        means = [np.mean(steps[step]) for step in seen]
        columns.append(np.interp(range(24), seen, means) if seen else np.zeros(24))
    for sensor in SENSORS:
        columns.append([float(any(bands[band][step] for band in sensor)) for step in range(24)])
    return np.stack(columns, axis=1)


def assert_equal_the_reference(pixels):
    series = regular_series(pixels)

    assert series.shape == (len(pixels), NUM_STEPS, NUM_CHANNELS)
    assert series.dtype == np.float32
    for row, pixel in zip(series, pixels_as_lists(pixels), strict=True):
        np.testing.assert_allclose(row, series_slowly(pixel), rtol=1e-5, atol=1e-4)


@given(pixels=dpixels())
def test_series_of_all_pixels_at_once_equal_a_pixel_by_pixel_reference(pixels: DPixels):
    assert_equal_the_reference(pixels)


def test_dense_series_equal_the_reference_too():
    assert_equal_the_reference(random_pixels(8, seed=1, max_clear=60, max_radar=40))


def test_a_sensor_that_never_saw_the_pixel_gives_zeros_and_says_so():
    series = regular_series(make_pixels([0, 3], [0, 0], [2, 0], seed=0, num_unusable=2))

    assert np.isfinite(series).all()
    assert not series[0, :, :12].any()
    assert series[1, :, :10].all()
    assert not series[1, :, 10:14].any()
    assert series[..., 14:].any(axis=1).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_polarisation_that_is_missing_is_filled_from_its_own_neighbours():
    pixels = make_pixels([1], [6], [0], seed=0)
    values = pixels.ascending.values.copy()
    values[::2, 1] = 0
    holed = replace(pixels, ascending=replace(pixels.ascending, values=values))

    assert_equal_the_reference(holed)
