"""Seasonal harmonics: the classic description of a pixel's year, without any network.

Per band a mean, one cycle and two cycles a year, fitted by ridge least squares to the clear
observations of each d-pixel. All d-pixels are solved at once.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.backscatter import DB_OFFSET, MISSING, STEPS_PER_DB
from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.tile import MAX_DAY

NUM_CYCLES: Final = 2
NUM_TERMS: Final = 1 + 2 * NUM_CYCLES
NUM_HARMONICS: Final = NUM_TERMS * (NUM_S2 + 2 * NUM_S1)

PENALTY: Final = 1.0
"""Of the cycles, in observations; keeps a d-pixel with few dates from swinging."""

REFLECTANCE_SCALE: Final = 10_000.0


def harmonic_features(pixels: DPixels) -> npt.NDArray[np.float32]:
    """Return harmonics of d-pixels, (N, 70), without NaN.

    Columns: ten S2 bands as reflectance, then VV and VH ascending, then descending, in doubled dB;
    five terms each. A sensor that never saw a d-pixel gives zeros.
    """
    optical = pixels.optical
    parts = [_fit(optical, optical.values / REFLECTANCE_SCALE, optical.valid)]
    for radar in (pixels.ascending, pixels.descending):
        decibel = radar.values / STEPS_PER_DB - DB_OFFSET
        # One polarisation may be missing where the other is there.
        for band in range(NUM_S1):
            one = slice(band, band + 1)
            parts.append(_fit(radar, decibel[:, one], radar.values[:, band] != MISSING))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _fit(
    series: Series, values: npt.NDArray[np.float64], usable: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the terms of each band, (N, bands x 5).

    Args:
        series: Of N d-pixels, M observations.
        values: (M, bands).
        usable: (M,), True where all bands were observed.
    """
    num, num_bands = len(series), values.shape[1]
    pixel = np.repeat(np.arange(num), np.diff(series.offsets))[usable]
    angle = 2 * np.pi * series.day_of_year[usable].astype(np.float64) / MAX_DAY
    cycles = [wave(turn * angle) for turn in range(1, NUM_CYCLES + 1) for wave in (np.cos, np.sin)]
    basis = np.stack([np.ones_like(angle), *cycles], axis=1)
    observed = values[usable]

    gram = np.empty((num, NUM_TERMS, NUM_TERMS))
    for row in range(NUM_TERMS):
        for column in range(row, NUM_TERMS):
            product = basis[:, row] * basis[:, column]
            gram[:, row, column] = np.bincount(pixel, weights=product, minlength=num)
            gram[:, column, row] = gram[:, row, column]
    moment = np.empty((num, NUM_TERMS, num_bands))
    for row in range(NUM_TERMS):
        for band in range(num_bands):
            product = basis[:, row] * observed[:, band]
            moment[:, row, band] = np.bincount(pixel, weights=product, minlength=num)
    # The mean is not held back; where there is nothing, any penalty makes it zero.
    penalty = np.full(NUM_TERMS, PENALTY)
    penalty[0] = 1e-6
    terms = np.linalg.solve(gram + np.diag(penalty), moment)
    return np.asarray(terms.transpose(0, 2, 1).reshape(num, num_bands * NUM_TERMS), np.float64)
