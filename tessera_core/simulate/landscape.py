"""The simulated landscape: parcels, land cover, forest and a burn, on a 5 m grid.

Everything is laid out at 5 m and later averaged to 10 m and 20 m, so that pixels at hedges,
roads and field borders are mixed as they are in reality.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.simulate.config import SimulateConfig
from tessera_core.simulate.crops import CROPS
from tessera_core.simulate.noise import FloatArray, Stream, smooth_noise, stream
from tessera_core.simulate.parcels import border_mask, split_into_parcels

FINE: Final = 2
"""Cells of the 5 m grid along one 10 m pixel."""

NO_CROP: Final = -1

FOREST_SHARE: Final = 0.13
WATER_SHARE: Final = 0.025
BUILT_UP_SHARE: Final = 0.04
GRASSLAND_SHARE: Final = 0.13
HEDGED_PARCEL_SHARE: Final = 0.3

STAND_HEIGHT_M: Final = (4.0, 32.0)
BURN_SHARE: Final = 0.02
BURN_START_DAYS: Final = (190, 235)
BURN_SPREAD_DAYS: Final = 8.0


class LandCover(IntEnum):
    """Land cover of a 5 m cell; numbers as in ESA WorldCover."""

    FOREST = 10
    HEDGE = 20
    GRASSLAND = 30
    CROPLAND = 40
    BUILT_UP = 50
    WATER = 80


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landscape:
    """What lies on the ground during one year; y and x count cells of 5 m."""

    parcel: npt.NDArray[np.int32]
    """(y, x), number of the parcel, 0..num_parcels - 1."""

    cover: npt.NDArray[np.uint8]
    """(y, x), ``LandCover``."""

    parcel_cover: npt.NDArray[np.uint8]
    """(num_parcels,), the use of the parcel as a whole."""

    crop: npt.NDArray[np.int8]
    """(num_parcels,), index into ``CROPS``, -1 where no crop is grown."""

    canopy_height_m: FloatArray
    """(y, x), 0 outside forest."""

    biomass_mg_ha: FloatArray
    """(y, x), above-ground biomass, 0 outside forest."""

    conifer: FloatArray
    """(y, x), share of conifers 0..1."""

    burn_day: npt.NDArray[np.uint16]
    """(y, x), day of year on which the fire came, 0 = never."""


def build_landscape(config: SimulateConfig) -> Landscape:
    """Lay out the landscape: parcels, cover and forest by seed, crops and burn by year too."""
    shape = (config.height * FINE, config.width * FINE)
    parcel, block = split_into_parcels(stream(config.seed, Stream.PARCELS), shape, cells=FINE**2)
    cover, parcel_cover = _land_cover(stream(config.seed, Stream.COVER), parcel, block)
    forest = cover == LandCover.FOREST
    height, biomass, conifer = _forest(stream(config.seed, Stream.FOREST), parcel, forest)
    crop = _crops(stream(config.seed, Stream.FIELDS, config.year), parcel_cover)
    burnable = forest | (cover == LandCover.GRASSLAND) | (cover == LandCover.HEDGE)
    burn_day = _burn(stream(config.seed, Stream.BURN, config.year), burnable)
    return Landscape(
        parcel=parcel,
        cover=cover,
        parcel_cover=parcel_cover,
        crop=crop,
        canopy_height_m=height,
        biomass_mg_ha=biomass,
        conifer=conifer,
        burn_day=burn_day,
    )


def _land_cover(
    rng: np.random.Generator, parcel: npt.NDArray[np.int32], block: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    shape = (parcel.shape[0], parcel.shape[1])
    scale = 0.12 * min(shape)
    area = np.bincount(parcel.ravel())
    woodiness = _parcel_mean(smooth_noise(rng, shape, scale), parcel)
    village = _parcel_mean(smooth_noise(rng, shape, scale), parcel)
    # Meadows lie beside woods more often than not.
    meadow = 0.6 * woodiness + rng.standard_normal(area.size)

    parcel_cover = np.full(area.size, LandCover.CROPLAND, dtype=np.uint8)
    for use, score, share in (
        (LandCover.FOREST, woodiness, FOREST_SHARE),
        (LandCover.BUILT_UP, village, BUILT_UP_SHARE),
        (LandCover.GRASSLAND, meadow, GRASSLAND_SHARE),
    ):
        free = parcel_cover == LandCover.CROPLAND
        parcel_cover[_highest(np.where(free, score, -np.inf), area, share)] = use

    cover = parcel_cover[parcel]
    hedged = rng.random(area.size) < HEDGED_PARCEL_SHARE
    cover[border_mask(parcel) & hedged[parcel]] = LandCover.HEDGE
    cover[border_mask(block, both_sides=True)] = LandCover.BUILT_UP
    wetness = smooth_noise(rng, shape, 0.5 * scale)
    cover[wetness > np.quantile(wetness, 1.0 - WATER_SHARE)] = LandCover.WATER
    return cover, parcel_cover


def _parcel_mean(values: FloatArray, parcel: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    total = np.bincount(parcel.ravel(), weights=values.ravel())
    return total / np.bincount(parcel.ravel())


def _highest(
    score: npt.NDArray[np.float64], area: npt.NDArray[np.int64], share: float
) -> npt.NDArray[np.int64]:
    """Return the parcels of highest score that together fill ``share``; at least one."""
    order = np.argsort(-score, kind="stable")
    filled = np.cumsum(area[order]) / area.sum()
    return order[: max(1, int(np.searchsorted(filled, share)))]


def _crops(rng: np.random.Generator, parcel_cover: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Deal crops to fields in their usual shares; each crop once before any twice."""
    fields = rng.permutation(np.flatnonzero(parcel_cover == LandCover.CROPLAND))
    weights = np.array([crop.share for crop in CROPS])
    extra = max(0, fields.size - len(CROPS))
    bounds = np.round(np.cumsum(weights / weights.sum()) * extra).astype(np.int64)
    counts = 1 + np.diff(bounds, prepend=0)
    dealt = np.repeat(np.arange(len(CROPS), dtype=np.int8), counts)
    # With fewer fields than crops the rarest crops are left out.
    crop = np.full(parcel_cover.size, NO_CROP, dtype=np.int8)
    crop[fields] = dealt[: fields.size]
    return crop


def _forest(
    rng: np.random.Generator, parcel: npt.NDArray[np.int32], forest: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    shape = (parcel.shape[0], parcel.shape[1])
    num_parcels = int(parcel.max()) + 1
    stand_height = rng.uniform(*STAND_HEIGHT_M, num_parcels)[parcel]
    stand_density = rng.normal(0.0, 0.12, num_parcels)[parcel]
    stand_conifer = rng.beta(0.6, 0.6, num_parcels)[parcel]
    height = stand_height * (1.0 + 0.16 * smooth_noise(rng, shape, 5.0))
    height = np.clip(height + 1.2 * smooth_noise(rng, shape, 1.5), 2.0, 40.0)
    density = np.exp(stand_density + 0.12 * smooth_noise(rng, shape, 5.0))
    # Allometry of temperate stands in round numbers: 25 m carries about 170 Mg/ha.
    biomass = 2.2 * height**1.35 * density
    conifer = np.clip(stand_conifer + 0.15 * smooth_noise(rng, shape, 4.0), 0.0, 1.0)
    return (
        np.where(forest, height, 0.0).astype(np.float32),
        np.where(forest, biomass, 0.0).astype(np.float32),
        conifer.astype(np.float32),
    )


def _burn(rng: np.random.Generator, burnable: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """Let one fire spread for about a week from a spot that is thickly wooded."""
    if not burnable.any():
        return np.zeros(burnable.shape, dtype=np.uint16)
    rows, columns = np.indices(burnable.shape)
    start = int(rng.choice(np.flatnonzero(burnable)))
    start_row, start_column = divmod(start, burnable.shape[1])
    distance = np.hypot(rows - start_row, columns - start_column)
    shape = (burnable.shape[0], burnable.shape[1])
    distance = distance * np.exp(0.35 * smooth_noise(rng, shape, 6.0))
    num_burnt = min(int(BURN_SHARE * burnable.size), int(burnable.sum()))
    reach = float(np.sort(distance[burnable])[num_burnt - 1])
    burnt = burnable & (distance <= reach)
    start_day = int(rng.integers(*BURN_START_DAYS))
    day = start_day + np.floor(BURN_SPREAD_DAYS * distance / max(reach, 1.0))
    return np.where(burnt, day, 0).astype(np.uint16)
