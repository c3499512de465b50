"""Sentinel-2 scene classification (SCL): the classes, and which of them count as clear."""

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt


class SceneClass(IntEnum):
    """SCL codes of the Sentinel-2 Level-2A product, and two for tiles that carry only a mask."""

    NO_DATA = 0
    SATURATED = 1
    DARK = 2
    CLOUD_SHADOW = 3
    VEGETATION = 4
    BARE = 5
    WATER = 6
    UNCLASSIFIED = 7
    CLOUD_MEDIUM = 8
    CLOUD_HIGH = 9
    THIN_CIRRUS = 10
    SNOW = 11
    USABLE_BY_MASK = 254
    """No SCL stored, or SCL overruled: the source's mask says usable."""
    UNUSABLE_BY_MASK = 255
    """No SCL stored, or SCL overruled: the source's mask says unusable."""


# Water, cirrus and snow stay in on purpose: TESSERA was trained with them (method.md 1.6).
OBSCURED: Final = (
    SceneClass.NO_DATA,
    SceneClass.SATURATED,
    SceneClass.DARK,
    SceneClass.CLOUD_SHADOW,
    SceneClass.CLOUD_MEDIUM,
    SceneClass.CLOUD_HIGH,
    SceneClass.UNUSABLE_BY_MASK,
)

KNOWN_CODES: Final = tuple(int(code) for code in SceneClass)


def clear_mask(scl: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return True where the scene class lets the ground through; any shape."""
    return ~np.isin(scl, np.array(OBSCURED, dtype=np.uint8))


def scl_from_mask(
    mask: npt.NDArray[np.uint8], scl: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Return scene classes whose ``clear_mask`` equals ``mask``.

    TESSERA tile directories always carry a mask and only sometimes the SCL it came from. Where
    both are there and agree, the SCL is kept; elsewhere the mask wins.

    Args:
        mask: 1 = usable, 0 = unusable; any shape.
        scl: scene classes of the same shape, or None.
    """
    by_mask = np.where(mask == 1, SceneClass.USABLE_BY_MASK, SceneClass.UNUSABLE_BY_MASK)
    if scl is None:
        return by_mask.astype(np.uint8)
    return np.where(clear_mask(scl) == (mask == 1), scl, by_mask).astype(np.uint8)
