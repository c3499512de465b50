"""Seeded streams and spatially correlated noise: the only sources of chance here."""

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

# Margin around a noise field in correlation lengths, so that opposite edges are unrelated.
MARGIN: Final = 3.0


class Stream(IntEnum):
    """Independent streams of one seed; the number is part of the generator's identity."""

    PARCELS = 1
    COVER = 2
    FOREST = 3
    FIELDS = 4
    WEATHER = 5
    OPTICAL = 6
    RADAR = 7
    BURN = 8


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one purpose, the same whatever else was drawn before.

    So an acquisition does not change when another one is left out.

    Args:
        seed: seed of the catalogue.
        key: a ``Stream`` and, where it applies, year, day of year or orbit.
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> FloatArray:
    """Return Gaussian noise of ``shape`` with mean about 0 and variance about 1.

    Args:
        rng: source of chance.
        shape: rows and columns.
        scale: standard deviation of the Gaussian smoothing in pixels; 0 gives white noise.
    """
    margin = int(np.ceil(MARGIN * scale))
    rows, columns = shape[0] + margin, shape[1] + margin
    white = rng.standard_normal((rows, columns))
    if scale == 0:
        return white.astype(np.float32)
    vertical = np.fft.fftfreq(rows)[:, None]
    horizontal = np.fft.rfftfreq(columns)[None, :]
    response = np.exp(-2.0 * (np.pi * scale) ** 2 * (vertical**2 + horizontal**2))
    smooth = np.fft.irfft2(np.fft.rfft2(white) * response, s=(rows, columns))
    # Expected, not sample, variance: a small scene inside one cloud must stay inside it.
    # The half spectrum holds each column once, but for the first and an even last one.
    multiplicity = np.full(response.shape[1], 2.0)
    multiplicity[0] = 1.0
    if columns % 2 == 0:
        multiplicity[-1] = 1.0
    variance = float((response**2 * multiplicity).sum()) / (rows * columns)
    noise: FloatArray = (smooth[: shape[0], : shape[1]] / np.sqrt(variance)).astype(np.float32)
    return noise


def box_mean(values: FloatArray, factor: int) -> FloatArray:
    """Return means over ``factor`` x ``factor`` cells of the last two axes."""
    # Strided sums: several times faster than reducing two short axes.
    total = np.zeros(values[..., ::factor, ::factor].shape, dtype=np.float32)
    for row in range(factor):
        for column in range(factor):
            total += values[..., row::factor, column::factor]
    mean: FloatArray = total / np.float32(factor * factor)
    return mean
