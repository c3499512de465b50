"""Sentinel-2 digital numbers: which source and date still carry the +1000 baseline offset."""

from datetime import date
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

BASELINE_OFFSET: Final = 1000
"""Added to digital numbers since processing baseline 04.00 (Sentinel-2 product handbook)."""

LAST_DATE_WITHOUT_OFFSET: Final = date(2022, 1, 25)


class OffsetPolicy(StrEnum):
    """How a source treats the baseline offset."""

    BY_DATE = "by_date"
    """Raw digital numbers: subtract after 2022-01-25 (Planetary Computer)."""

    REMOVED_UPSTREAM = "removed_upstream"
    """Already subtracted by the provider (Earth Search, TESSERA tiles): apply nothing."""


def carries_offset(acquired: date, policy: OffsetPolicy) -> bool:
    """Return whether digital numbers of this source and date include the offset."""
    return policy is OffsetPolicy.BY_DATE and acquired > LAST_DATE_WITHOUT_OFFSET


def remove_offset(digital_numbers: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Return digital numbers without the offset; any shape.

    Values below 1000 stay as they are: the reference neither shifts nor clips them, and 0
    remains no data (method.md 1.5).
    """
    shifted = digital_numbers - np.uint16(BASELINE_OFFSET)
    return np.where(digital_numbers >= BASELINE_OFFSET, shifted, digital_numbers)
