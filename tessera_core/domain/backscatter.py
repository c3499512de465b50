"""Sentinel-1 backscatter: linear power to the scaled dB that TESSERA stores, and back.

The reference code calls its input amplitude, but RTC products are gamma0 in linear power, so
``20 * log10`` doubles the dB. All released weights expect that; it is kept (method.md 1.4).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

MISSING: Final = 0
"""Scaled dB of a missing value; a surface at or below -25 dB gamma0 is lost to it too."""

SCALED_MAX: Final = 32767
DB_OFFSET: Final = 50.0
STEPS_PER_DB: Final = 200.0


def scaled_db_from_power(power: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Return ``(20 log10(power) + 50) * 200`` truncated to int16; any shape.

    Args:
        power: gamma0 in linear power. Not finite or <= 0 gives 0, the missing value.
    """
    usable = np.isfinite(power) & (power > 0)
    decibel_20 = 20.0 * np.log10(np.where(usable, power, 1.0))
    scaled = np.clip((decibel_20 + DB_OFFSET) * STEPS_PER_DB, 0, SCALED_MAX)
    return np.where(usable, scaled, MISSING).astype(np.int16)


def power_from_scaled_db(scaled_db: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Return linear power; NaN where the value is missing."""
    decibel_20 = scaled_db.astype(np.float32) / STEPS_PER_DB - DB_OFFSET
    power = np.power(10.0, decibel_20 / 20.0, dtype=np.float32)
    return np.where(scaled_db == MISSING, np.float32(np.nan), power)


def present_mask(scaled_db: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Return True where an observation has VV or VH; input (..., 2), output (...)."""
    present: npt.NDArray[np.bool_] = (scaled_db != MISSING).any(axis=-1)
    return present
