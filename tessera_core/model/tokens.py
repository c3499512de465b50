"""Stored observations to model input: normalised bands, raw day of year as the last channel.

Shapes: B d-pixels, T observations, C bands + 1.
"""

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import BandStats, NormStats

Tokens = npt.NDArray[np.float32]


def series_tokens(series: Series, index: npt.NDArray[np.integer], stats: BandStats) -> Tokens:
    """Return tokens (..., bands + 1) of the observations at ``index`` (...)."""
    values = stats.apply(series.values[index])
    days = series.day_of_year[index].astype(np.float32)
    return np.concatenate([values, days[..., None]], axis=-1)


class RadarStream:
    """Both orbits of some d-pixels as one padded stream, ascending first (method.md 3.1).

    Each orbit keeps its own statistics, so tokens are built per orbit and joined here.
    """

    def __init__(self, pixels: DPixels, rows: npt.NDArray[np.integer], norms: NormStats) -> None:
        parts = (
            (pixels.ascending, norms.s1_ascending),
            (pixels.descending, norms.s1_descending),
        )
        tokens, valid = [], []
        for series, stats in parts:
            index, _, is_valid = series.padded(rows)
            tokens.append(series_tokens(series, index, stats))
            valid.append(is_valid)
        self.tokens_BTC: Tokens = np.concatenate(tokens, axis=1)
        """(B, T, 3)."""
        self.valid_BT: npt.NDArray[np.bool_] = np.concatenate(valid, axis=1)
        """(B, T)."""

    def take(self, chosen_BK: npt.NDArray[np.integer]) -> Tokens:
        """Return the chosen tokens (B, K, 3); zero rows where a d-pixel has no observation."""
        return take_tokens(self.tokens_BTC, self.valid_BT, chosen_BK)


class OpticalStream:
    """The Sentinel-2 observations of some d-pixels as one padded stream."""

    def __init__(self, pixels: DPixels, rows: npt.NDArray[np.integer], norms: NormStats) -> None:
        index, _, valid = pixels.optical.padded(rows)
        self.tokens_BTC: Tokens = series_tokens(pixels.optical, index, norms.s2)
        """(B, T, 11)."""
        self.valid_BT: npt.NDArray[np.bool_] = valid
        """(B, T)."""

    def take(self, chosen_BK: npt.NDArray[np.integer]) -> Tokens:
        """Return the chosen tokens (B, K, 11); zero rows where nothing is clear."""
        return take_tokens(self.tokens_BTC, self.valid_BT, chosen_BK)


def take_tokens(
    tokens_BTC: Tokens, valid_BT: npt.NDArray[np.bool_], chosen_BK: npt.NDArray[np.integer]
) -> Tokens:
    """Return the chosen tokens; a d-pixel without any valid one gets zeros, day 0 included."""
    if tokens_BTC.shape[1] == 0:
        return np.zeros((*chosen_BK.shape, tokens_BTC.shape[2]), np.float32)
    taken = np.take_along_axis(tokens_BTC, chosen_BK[..., None], axis=1)
    taken[~valid_BT.any(axis=1)] = 0
    return taken
