"""Reflectance of the ground: a linear mixture of a few spectra, driven by the canopy.

Plausible, not physical: enough for red edge, shortwave infrared and saturation to behave as
they do in Sentinel-2 scenes.
"""

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.simulate.ground import Ground, World
from tessera_core.simulate.landscape import LandCover
from tessera_core.simulate.noise import FloatArray


class Matter(IntEnum):
    """What a cell is mixed from; rows of ``SPECTRA``."""

    SOIL_BRIGHT = 0
    SOIL_DARK = 1
    SOIL_WET = 2
    LEAF_LUSH = 3
    LEAF_PALE = 4
    FLOWER = 5
    STRAW = 6
    CONIFER = 7
    BROADLEAF = 8
    BARE_WOOD = 9
    SHADE = 10
    ROOF = 11
    WATER = 12
    CHAR = 13
    SNOW = 14


# Reflectance in the order of domain.bands.S2_BANDS (B04 B02 B03 B08 B8A B05 B06 B07 B11 B12),
# rounded from what public spectral libraries show for each kind of matter.
SPECTRA: Final = np.array(
    [
        [0.200, 0.105, 0.150, 0.270, 0.290, 0.220, 0.240, 0.255, 0.360, 0.310],
        [0.095, 0.055, 0.075, 0.140, 0.155, 0.108, 0.120, 0.130, 0.220, 0.190],
        [0.060, 0.040, 0.050, 0.095, 0.105, 0.072, 0.080, 0.088, 0.110, 0.080],
        [0.024, 0.022, 0.050, 0.520, 0.540, 0.080, 0.360, 0.480, 0.200, 0.085],
        [0.060, 0.035, 0.090, 0.400, 0.420, 0.150, 0.310, 0.370, 0.230, 0.120],
        [0.170, 0.050, 0.180, 0.460, 0.480, 0.220, 0.380, 0.430, 0.220, 0.120],
        [0.230, 0.115, 0.170, 0.340, 0.370, 0.270, 0.300, 0.325, 0.390, 0.280],
        [0.022, 0.018, 0.032, 0.240, 0.250, 0.060, 0.180, 0.225, 0.110, 0.050],
        [0.028, 0.022, 0.050, 0.430, 0.445, 0.090, 0.310, 0.400, 0.185, 0.080],
        [0.080, 0.050, 0.065, 0.150, 0.165, 0.100, 0.120, 0.135, 0.190, 0.130],
        [0.006, 0.008, 0.007, 0.020, 0.020, 0.008, 0.012, 0.016, 0.012, 0.008],
        [0.170, 0.130, 0.150, 0.210, 0.220, 0.180, 0.190, 0.200, 0.230, 0.210],
        [0.020, 0.040, 0.035, 0.012, 0.010, 0.022, 0.016, 0.013, 0.007, 0.005],
        [0.045, 0.035, 0.040, 0.075, 0.085, 0.052, 0.060, 0.068, 0.140, 0.160],
        [0.850, 0.880, 0.870, 0.780, 0.760, 0.840, 0.810, 0.790, 0.110, 0.090],
    ],
    dtype=np.float32,
)

# Bands in which the canopy's build shows: the near-infrared plateau.
PLATEAU: Final = np.array([0, 0, 0, 1, 1, 0, 0.7, 1, 0, 0], dtype=np.float32)

LEAF_EXTINCTION: Final = 0.6
SHADE_OF_TALL_TREES: Final = 0.50
SHADE_HEIGHT_M: Final = 13.0


def surface_reflectance(world: World, ground: Ground) -> FloatArray:
    """Return reflectance (band, y, x) of the 5 m cells, bands as in ``S2_BANDS``."""
    cover = world.landscape.cover
    shares = np.zeros((len(Matter), *cover.shape), dtype=np.float32)
    green = _mix_fields(shares, world, ground)
    for kind, mix in (
        (LandCover.FOREST, _forest_mix),
        (LandCover.HEDGE, _hedge_mix),
        (LandCover.BUILT_UP, _built_up_mix),
        (LandCover.WATER, _water_mix),
    ):
        there = cover == kind
        shares[:, there] = mix(world, ground, there)
    _lay_over(shares, Matter.CHAR, 0.85 * ground.charred)
    not_water = (cover != LandCover.WATER).astype(np.float32)
    # Trees stand out of the snow.
    trees = np.where(cover == LandCover.FOREST, np.float32(0.45), np.float32(1.0))
    _lay_over(shares, Matter.SNOW, ground.snow * not_water * trees)
    reflectance = np.zeros((SPECTRA.shape[1], *cover.shape), dtype=np.float32)
    # Not a matrix product: its last digits depend on how many threads share it.
    for spectrum, share in zip(SPECTRA, shares, strict=True):
        if share.any():
            reflectance += spectrum[:, None, None] * share
    structure = world.traits.near_infrared[world.landscape.parcel] - 1.0
    fields = (cover == LandCover.CROPLAND) | (cover == LandCover.GRASSLAND)
    reflectance *= 1.0 + PLATEAU[:, None, None] * (structure * green * fields)
    texture = np.where(cover == LandCover.WATER, np.float32(1.0), world.texture)
    return (reflectance * texture).astype(np.float32)


def _mix_fields(shares: FloatArray, world: World, ground: Ground) -> FloatArray:
    """Fill the shares as if all were fields; return the green cover (y, x)."""
    parcel, traits, canopy = world.landscape.parcel, world.traits, ground.canopy
    green: FloatArray = 1.0 - np.exp(-LEAF_EXTINCTION * canopy.lai)
    pale = np.clip(traits.paleness[parcel] - 0.10 * (canopy.lai - 3.0), 0.0, 1.0)
    seen = green * (1.0 - canopy.flowers)
    shares[Matter.FLOWER] = green * canopy.flowers
    shares[Matter.LEAF_LUSH] = seen * (1.0 - pale)
    shares[Matter.LEAF_PALE] = seen * pale
    shares[Matter.STRAW] = (1.0 - green) * canopy.straw
    bare = (1.0 - green) * (1.0 - canopy.straw)
    dry = bare * (1.0 - 0.8 * ground.moisture)
    bright = traits.soil_brightness[parcel]
    shares[Matter.SOIL_BRIGHT] = dry * bright
    shares[Matter.SOIL_DARK] = dry * (1.0 - bright)
    shares[Matter.SOIL_WET] = bare - dry
    return green


def _forest_mix(world: World, ground: Ground, there: npt.NDArray[np.bool_]) -> FloatArray:
    height = world.landscape.canopy_height_m[there]
    conifer = world.landscape.conifer[there]
    # Crowns shade each other more the taller they are, up to a point: hence the saturation.
    shade = SHADE_OF_TALL_TREES * (1.0 - np.exp(-height / SHADE_HEIGHT_M))
    under = 0.5 * np.exp(-height / 6.0)
    lit = (1.0 - shade) * (1.0 - under)
    shares = np.zeros((len(Matter), height.size), dtype=np.float32)
    shares[Matter.SHADE] = shade
    shares[Matter.LEAF_PALE] = (1.0 - shade) * under * (0.4 + 0.6 * ground.leaf_on)
    shares[Matter.STRAW] = (1.0 - shade) * under * 0.6 * (1.0 - ground.leaf_on)
    shares[Matter.CONIFER] = lit * conifer
    shares[Matter.BROADLEAF] = lit * (1.0 - conifer) * ground.leaf_on
    shares[Matter.BARE_WOOD] = lit * (1.0 - conifer) * (1.0 - ground.leaf_on)
    return shares


def _hedge_mix(world: World, ground: Ground, there: npt.NDArray[np.bool_]) -> FloatArray:
    shares = np.zeros((len(Matter), int(there.sum())), dtype=np.float32)
    shares[Matter.SHADE] = 0.15
    shares[Matter.BROADLEAF] = 0.55 * ground.leaf_on
    shares[Matter.BARE_WOOD] = 0.55 * (1.0 - ground.leaf_on)
    shares[Matter.LEAF_PALE] = 0.30
    return shares


def _built_up_mix(world: World, ground: Ground, there: npt.NDArray[np.bool_]) -> FloatArray:
    garden = np.clip(0.25 + 2.0 * (world.vigour[there] - 1.0), 0.0, 0.8)
    shares = np.zeros((len(Matter), garden.size), dtype=np.float32)
    shares[Matter.ROOF] = 0.9 * (1.0 - garden)
    shares[Matter.SHADE] = 0.1 * (1.0 - garden)
    shares[Matter.LEAF_PALE] = garden * (0.5 + 0.5 * ground.leaf_on)
    shares[Matter.STRAW] = garden * 0.5 * (1.0 - ground.leaf_on)
    return shares


def _water_mix(world: World, ground: Ground, there: npt.NDArray[np.bool_]) -> FloatArray:
    shares = np.zeros((len(Matter), int(there.sum())), dtype=np.float32)
    shares[Matter.WATER] = 1.0
    return shares


def _lay_over(shares: FloatArray, matter: Matter, share: FloatArray) -> None:
    """Cover what is there with ``share`` (y, x) of ``matter``."""
    shares *= 1.0 - share
    shares[matter] += share
