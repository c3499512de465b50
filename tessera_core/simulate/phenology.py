"""How crops and grass grow through the year, field by field.

A logistic rise and fall of the leaf area index per field, with straw, stubble, catch crops and
mowing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.simulate.crops import CROPS, GRASS, NEVER
from tessera_core.simulate.noise import FloatArray

# Spread between fields of one crop, standard deviations.
SOWING_SPREAD_DAYS: Final = 6.0
RIPENING_SPREAD_DAYS: Final = 5.0
HARVEST_SPREAD_DAYS: Final = 4.0
FLOWER_SPREAD_DAYS: Final = 5.0
VIGOUR_SPREAD: Final = 0.18
PALENESS_SPREAD: Final = 0.1
NEAR_INFRARED_SPREAD: Final = 0.04
VOLUME_SPREAD_DB: Final = 0.8

COVER_CROP_SHARE: Final = 0.40
CATCH_CROP_SHARE: Final = 0.45
AUTUMN_SOWN_SHARE: Final = 0.5
MOWINGS: Final = (148.0, 200.0, 255.0)
MOWING_SPREAD_DAYS: Final = 14.0
REGROWTH_DAYS: Final = 16.0
MOWN_SHARE: Final = 0.65

STRAW_COVER: Final = 0.85
STUBBLE_COVER: Final = 0.55
TILLED_RESIDUE: Final = 0.12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldTraits:
    """What one field makes of its crop this year; every array is (num_parcels,)."""

    winter_lai: FloatArray
    green_up_day: FloatArray
    green_up_days: FloatArray
    peak_lai: FloatArray
    senescence_day: FloatArray
    senescence_days: FloatArray
    harvest_day: FloatArray
    flower_day: FloatArray
    flower_share: FloatArray
    paleness: FloatArray
    near_infrared: FloatArray
    volume_vh_db: FloatArray
    stem_loss_db: FloatArray
    """As in ``Crop``, with the deviation of this field."""

    cover_lai: FloatArray
    """Cover crop before a spring-sown crop, 0 = none."""

    cover_end_day: FloatArray
    """Day on which frost or plough ends the cover crop."""

    catch_lai: FloatArray
    """Catch crop or volunteers after the harvest, 0 = none."""

    catch_day: FloatArray
    """Middle of its rise."""

    autumn_lai: FloatArray
    """Next winter crop in December, 0 = none."""

    autumn_day: FloatArray
    """Middle of its rise."""

    tillage_day: FloatArray
    """Day on which the stubble is ploughed in."""

    mowing_days: FloatArray
    """(num_parcels, 3), ``NEVER`` on arable fields."""

    soil_brightness: FloatArray
    """0 dark .. 1 bright."""

    roughness_db: FloatArray
    """Deviation of the bare soil's backscatter in dB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Canopy:
    """What stands on fields on one day; every array is (y, x)."""

    lai: FloatArray
    """Green leaf area index, >= 0."""

    straw: FloatArray
    """Share of the ground hidden by dry matter where no green leaf hides it, 0..1."""

    flowers: FloatArray
    """Share of the green canopy hidden by flowers, 0..1."""


def draw_traits(crop: npt.NDArray[np.int8], rng: np.random.Generator) -> FieldTraits:
    """Draw what distinguishes each field from the usual course of its crop.

    Args:
        crop: (num_parcels,), index into ``CROPS``; -1 means grassland, also for parcels whose
            cover is something else and whose traits are never looked at.
        rng: source of chance.
    """
    num = crop.size
    grass = crop < 0

    def usual(name: str) -> npt.NDArray[np.float64]:
        # Index -1 takes the last entry, which is grass.
        return np.array([getattr(kind, name) for kind in (*CROPS, GRASS)], dtype=np.float64)[crop]

    def spread(scale: float) -> npt.NDArray[np.float64]:
        return scale * rng.standard_normal(num)

    sowing = spread(SOWING_SPREAD_DAYS)
    vigour = np.exp(spread(VIGOUR_SPREAD))
    ripening = 0.5 * sowing + spread(RIPENING_SPREAD_DAYS)
    harvest = usual("harvest_day") + ripening + spread(HARVEST_SPREAD_DAYS)
    spring_sown = ~grass & (usual("winter_lai") == 0)
    has_cover = spring_sown & (rng.random(num) < COVER_CROP_SHARE)
    has_catch = ~grass & (harvest < 240) & (rng.random(num) < CATCH_CROP_SHARE)
    is_sown = ~grass & ~has_catch & (rng.random(num) < AUTUMN_SOWN_SHARE)
    mowings = np.array(MOWINGS) + MOWING_SPREAD_DAYS * rng.standard_normal((num, len(MOWINGS)))
    drawn = {
        "winter_lai": usual("winter_lai") * np.exp(spread(0.35)),
        "green_up_day": usual("green_up_day") + sowing,
        "green_up_days": usual("green_up_days") * np.exp(spread(0.15)),
        "peak_lai": usual("peak_lai") * vigour,
        "senescence_day": usual("senescence_day") + ripening,
        "senescence_days": usual("senescence_days") * np.exp(spread(0.15)),
        "harvest_day": np.where(grass, NEVER, harvest),
        "flower_day": usual("flower_day") + 0.5 * sowing + spread(FLOWER_SPREAD_DAYS),
        "flower_share": usual("flower_share") * rng.uniform(0.3, 1.5, num),
        "paleness": np.clip(usual("paleness") + spread(PALENESS_SPREAD), 0.0, 1.0),
        "near_infrared": usual("near_infrared") + spread(NEAR_INFRARED_SPREAD),
        "volume_vh_db": usual("volume_vh_db") + spread(VOLUME_SPREAD_DB),
        "stem_loss_db": usual("stem_loss_db") * np.exp(spread(0.3)),
        "cover_lai": np.where(has_cover, rng.uniform(0.3, 2.2, num), 0.0),
        "cover_end_day": rng.uniform(50.0, 115.0, num),
        "catch_lai": np.where(has_catch, rng.uniform(0.4, 2.8, num), 0.0),
        "catch_day": harvest + rng.uniform(25.0, 50.0, num),
        "autumn_lai": np.where(is_sown, rng.uniform(0.3, 1.1, num), 0.0),
        "autumn_day": np.maximum(harvest + 15.0, rng.uniform(285.0, 330.0, num)),
        "tillage_day": harvest + rng.exponential(30.0, num),
        "mowing_days": np.where(grass[:, None], mowings, NEVER),
        "soil_brightness": rng.beta(2.0, 2.0, num),
        "roughness_db": spread(1.4),
    }
    return FieldTraits(**{name: value.astype(np.float32) for name, value in drawn.items()})


def canopy_on(
    traits: FieldTraits,
    parcel: npt.NDArray[np.int32],
    day: FloatArray,
    vigour: FloatArray,
) -> Canopy:
    """Return the canopy of every cell on its own day.

    Args:
        traits: per parcel.
        parcel: (y, x), number of the parcel.
        day: (y, x), day of year, less the days by which this cell lags behind its field.
        vigour: (y, x), growth relative to the field, about 1.
    """

    def cells(values: FloatArray) -> FloatArray:
        return values[parcel]

    harvested = day >= cells(traits.harvest_day)
    rise = _logistic((day - cells(traits.green_up_day)) / cells(traits.green_up_days))
    fall = _logistic((day - cells(traits.senescence_day)) / cells(traits.senescence_days))
    winter = cells(traits.winter_lai)
    main = (winter + np.maximum(cells(traits.peak_lai) - winter, 0.0) * rise) * (1.0 - fall)
    main = np.where(harvested, 0.0, main * vigour)
    for mowing in range(traits.mowing_days.shape[1]):
        since = day - cells(traits.mowing_days[:, mowing])
        regrown = np.exp(-np.maximum(since, 0.0) / REGROWTH_DAYS)
        main = main * (1.0 - MOWN_SHARE * np.where(since >= 0, regrown, 0.0))
    cover = cells(traits.cover_lai) * _logistic((cells(traits.cover_end_day) - day) / 4.0)
    catch = cells(traits.catch_lai) * _logistic((day - cells(traits.catch_day)) / 8.0)
    autumn = cells(traits.autumn_lai) * _logistic((day - cells(traits.autumn_day)) / 10.0)
    # The next crop needs ploughed ground, which ends the catch crop.
    catch = catch * _logistic((310.0 - day) / 6.0)
    stubble = np.where(day >= cells(traits.tillage_day), TILLED_RESIDUE, STUBBLE_COVER)
    straw = np.where(harvested, stubble, STRAW_COVER * fall * rise)
    away = (day - cells(traits.flower_day)) / np.float32(8.0)
    flowers = cells(traits.flower_share) * np.exp(-0.5 * np.minimum(away**2, 50.0))
    lai = main + cover + catch + np.where(harvested, autumn, 0.0)
    return Canopy(
        lai=lai.astype(np.float32),
        straw=straw.astype(np.float32),
        flowers=np.clip(flowers, 0.0, 0.9).astype(np.float32),
    )


def _logistic(x: FloatArray) -> FloatArray:
    return np.float32(1.0) / (np.float32(1.0) + np.exp(np.clip(-x, -30.0, 30.0)))
