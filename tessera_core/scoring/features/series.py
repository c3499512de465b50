"""A regular series per d-pixel, for networks that read time without an encoder of ours."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.backscatter import DB_OFFSET, MISSING, STEPS_PER_DB
from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.tile import MAX_DAY
from tessera_core.scoring.features.monthly import fill_months

NUM_STEPS: Final = 24
"""Half-months."""

NUM_CHANNELS: Final = NUM_S2 + 2 * NUM_S1 + 3
"""Bands, and for each sensor whether the step was observed at all."""

REFLECTANCE_SCALE: Final = 10_000.0


def regular_series(pixels: DPixels) -> npt.NDArray[np.float32]:
    """Return half-monthly means of d-pixels, (N, 24, 17), gaps interpolated.

    Channels: ten S2 bands as reflectance, VV and VH ascending and descending in doubled dB, then 1
    or 0 for each sensor: observed in this half-month or filled.
    """
    optical = pixels.optical
    parts = [_means(optical, optical.values / REFLECTANCE_SCALE, optical.valid)]
    for radar in (pixels.ascending, pixels.descending):
        decibel = radar.values / STEPS_PER_DB - DB_OFFSET
        # One polarisation may be missing where the other is there.
        polarisations = [
            _means(radar, decibel[:, band : band + 1], radar.values[:, band] != MISSING)
            for band in range(NUM_S1)
        ]
        filled = np.concatenate([part for part, _ in polarisations], axis=2)
        parts.append((filled, np.logical_or.reduce([observed for _, observed in polarisations])))
    bands = [filled for filled, _ in parts]
    seen = [observed for _, observed in parts]
    return np.concatenate([*bands, *seen], axis=2).astype(np.float32)


def _means(
    series: Series, values: npt.NDArray[np.float64], usable: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return filled means (N, 24, bands) and whether each step was observed, (N, 24, 1)."""
    pixel = np.repeat(np.arange(len(series)), np.diff(series.offsets))
    step = (series.day_of_year.astype(np.int64) - 1) * NUM_STEPS // MAX_DAY
    cell = (pixel * NUM_STEPS + step)[usable]
    num_cells = len(series) * NUM_STEPS
    count = np.bincount(cell, minlength=num_cells)
    sums = [
        np.bincount(cell, weights=values[usable, band], minlength=num_cells)
        for band in range(values.shape[1])
    ]
    mean = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
    seen = (count > 0).reshape(-1, NUM_STEPS, 1)
    return fill_months(mean.reshape(-1, NUM_STEPS, values.shape[1]), seen), seen
