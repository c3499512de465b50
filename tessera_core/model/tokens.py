"""Stored observations to model input: normalised bands, raw day of year as the last channel.

Shapes: B d-pixels, T observations, C bands + 1.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenStream:
    """All observations of some d-pixels by one sensor, padded, as model input."""

    tokens_BTC: Tokens
    """(B, T, bands + 1)."""

    valid_BT: npt.NDArray[np.bool_]
    """(B, T), False where obscured, missing or padded."""

    def take(self, chosen_BK: npt.NDArray[np.integer]) -> Tokens:
        """Return the chosen tokens (B, K, bands + 1).

        A d-pixel without any valid observation gets zeros, day 0 included (method.md 3.2).
        """
        if self.tokens_BTC.shape[1] == 0:
            return np.zeros((*chosen_BK.shape, self.tokens_BTC.shape[2]), np.float32)
        taken = np.take_along_axis(self.tokens_BTC, chosen_BK[..., None], axis=1)
        taken[~self.valid_BT.any(axis=1)] = 0
        return taken


def optical_stream(pixels: DPixels, rows: npt.NDArray[np.integer], norms: NormStats) -> TokenStream:
    """Return the Sentinel-2 observations of some d-pixels."""
    index, _, valid = pixels.optical.padded(rows)
    return TokenStream(tokens_BTC=series_tokens(pixels.optical, index, norms.s2), valid_BT=valid)


def radar_stream(pixels: DPixels, rows: npt.NDArray[np.integer], norms: NormStats) -> TokenStream:
    """Return both orbits of some d-pixels as one stream, ascending first (method.md 3.1).

    Each orbit keeps its own statistics, so tokens are built per orbit and joined here.
    """
    parts = ((pixels.ascending, norms.s1_ascending), (pixels.descending, norms.s1_descending))
    tokens, valid = [], []
    for series, stats in parts:
        index, _, is_valid = series.padded(rows)
        tokens.append(series_tokens(series, index, stats))
        valid.append(is_valid)
    return TokenStream(
        tokens_BTC=np.concatenate(tokens, axis=1), valid_BT=np.concatenate(valid, axis=1)
    )
