"""Stored observations to model input: normalised bands, raw day of year as the last channel."""

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import Series
from tessera_core.domain.norms import BandStats

Tokens = npt.NDArray[np.float32]


def series_tokens(series: Series, index: npt.NDArray[np.integer], stats: BandStats) -> Tokens:
    """Return tokens (..., bands + 1) of the observations at ``index`` (...)."""
    values = stats.apply(series.values[index])
    days = series.day_of_year[index].astype(np.float32)
    return np.concatenate([values, days[..., None]], axis=-1)
