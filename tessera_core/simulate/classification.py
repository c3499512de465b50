"""The scene classification of a simulated granule, with the errors real ones have."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import S2_NAMES
from tessera_core.domain.scl import SceneClass
from tessera_core.simulate.noise import FloatArray, smooth_noise

HIGH_CLOUD: Final = 0.55
MEDIUM_CLOUD: Final = 0.26
VISIBLE_CIRRUS: Final = 0.10
DEEP_SHADOW: Final = 0.35

# Standard normal limits of correlated noise: about 5 % of cloud missed, 2 % of land called
# cloud, 0.5 % left unclassified.
MISSED: Final = 1.65
INVENTED: Final = 2.05
UNDECIDED: Final = 2.6
MISSED_OPACITY: Final = 0.45

GREEN_NDVI: Final = 0.35
SNOW_INDEX: Final = 0.4
SNOW_GREEN: Final = 0.25


def classify_scene(
    rng: np.random.Generator,
    *,
    reflectance: FloatArray,
    opacity: FloatArray,
    cirrus: FloatArray,
    shadow: FloatArray,
    has_data: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """Return ``SceneClass`` (y, x) with omissions and commissions of a few per cent.

    Missed cloud stays in as a clear observation: the residual cloud users meet.

    Args:
        rng: source of chance.
        reflectance: (band, y, x), as seen through the sky.
        opacity: (y, x), share of the signal from clouds.
        cirrus: (y, x), part of it due to thin cloud.
        shadow: (y, x), depth of cloud shadow.
        has_data: (y, x), False outside the swath.
    """
    shape = (opacity.shape[0], opacity.shape[1])
    missed = smooth_noise(rng, shape, 2.0) > MISSED
    invented = smooth_noise(rng, shape, 1.5) > INVENTED
    undecided = smooth_noise(rng, shape, 0.6) > UNDECIDED
    doubt = 0.05 * smooth_noise(rng, shape, 1.0)

    apparent = opacity + doubt - MISSED_OPACITY * missed
    scl = _land_classes(reflectance)
    scl[undecided] = SceneClass.UNCLASSIFIED
    scl[(shadow + doubt > DEEP_SHADOW) & ~missed] = SceneClass.CLOUD_SHADOW
    scl[(cirrus + 0.5 * doubt > VISIBLE_CIRRUS)] = SceneClass.THIN_CIRRUS
    scl[(apparent > MEDIUM_CLOUD) | invented] = SceneClass.CLOUD_MEDIUM
    scl[apparent > HIGH_CLOUD] = SceneClass.CLOUD_HIGH
    scl[(apparent > 0.97) & undecided] = SceneClass.SATURATED
    scl[~has_data] = SceneClass.NO_DATA
    return scl


def _land_classes(reflectance: FloatArray) -> npt.NDArray[np.uint8]:
    red, green, near_infrared, shortwave = (
        reflectance[S2_NAMES.index(name)] for name in ("B04", "B03", "B08", "B11")
    )
    ndvi = _index(near_infrared, red)
    scl = np.where(ndvi > GREEN_NDVI, SceneClass.VEGETATION, SceneClass.BARE).astype(np.uint8)
    scl[(near_infrared < 0.10) & (ndvi > 0.2)] = SceneClass.DARK
    scl[(_index(green, near_infrared) > 0.05) & (shortwave < 0.06)] = SceneClass.WATER
    scl[(_index(green, shortwave) > SNOW_INDEX) & (green > SNOW_GREEN)] = SceneClass.SNOW
    return scl


def _index(first: FloatArray, second: FloatArray) -> FloatArray:
    index: FloatArray = (first - second) / np.maximum(first + second, np.float32(1e-4))
    return index
