"""The ground day by day: what both sensors look at."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tessera_core.simulate.config import SimulateConfig
from tessera_core.simulate.landscape import Landscape, build_landscape
from tessera_core.simulate.noise import FloatArray, Stream, smooth_noise, stream
from tessera_core.simulate.phenology import Canopy, FieldTraits, canopy_on, draw_traits

CHAR_DAYS: Final = 90.0
"""Days in which the trace of a fire fades to a third."""

LEAF_OUT_DAY: Final = 115.0
LEAF_FALL_DAY: Final = 298.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """Landscape, fields and the small differences within them; y and x count 5 m cells."""

    landscape: Landscape
    traits: FieldTraits

    delay_days: FloatArray
    """(y, x), how far growth lags behind the field's mean."""

    vigour: FloatArray
    """(y, x), growth relative to the field, about 1."""

    texture: FloatArray
    """(y, x), lasting relative brightness of the ground, about 1."""

    wet_spot: FloatArray
    """(y, x), lasting deviation of soil moisture, -0.3..0.3."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """The state of every 5 m cell on one day, as both sensors see it; arrays are (y, x)."""

    canopy: Canopy

    moisture: FloatArray
    """Water in the topsoil, 0 dry .. 1 soaked."""

    leaf_on: float
    """Foliage of broad-leaved trees, 0..1."""

    charred: FloatArray
    """Trace of the fire, 1 right after it, fading."""

    snow: float
    """Share of the ground under snow, 0..1."""


def build_world(config: SimulateConfig) -> World:
    """Build everything about the ground that does not change from day to day."""
    landscape = build_landscape(config)
    rng = stream(config.seed, Stream.FIELDS, config.year, 1)
    traits = draw_traits(landscape.crop, rng)
    shape = (landscape.parcel.shape[0], landscape.parcel.shape[1])
    return World(
        landscape=landscape,
        traits=traits,
        delay_days=2.5 * smooth_noise(rng, shape, 6.0) + smooth_noise(rng, shape, 1.5),
        vigour=np.exp(0.10 * smooth_noise(rng, shape, 7.0) + 0.08 * smooth_noise(rng, shape, 1.0)),
        texture=np.exp(0.05 * smooth_noise(rng, shape, 4.0) + 0.05 * smooth_noise(rng, shape, 0.7)),
        wet_spot=np.clip(0.1 * smooth_noise(rng, shape, 12.0), -0.3, 0.3),
    )


def ground_on(world: World, day_of_year: int, *, moisture: float, snow: float) -> Ground:
    """Return the state of the ground on one day.

    Args:
        world: the place.
        day_of_year: 1..366.
        moisture: water in the topsoil, 0..1, mean of the area.
        snow: share of the ground under snow, 0..1.
    """
    canopy = canopy_on(
        world.traits,
        world.landscape.parcel,
        np.float32(day_of_year) - world.delay_days,
        world.vigour,
    )
    since_fire = np.float32(day_of_year) - world.landscape.burn_day
    burnt = (world.landscape.burn_day > 0) & (since_fire >= 0)
    charred = np.where(burnt, np.exp(-np.maximum(since_fire, 0) / CHAR_DAYS), 0.0)
    leaf_out = 1.0 / (1.0 + np.exp(-(day_of_year - LEAF_OUT_DAY) / 6.0))
    leaf_fall = 1.0 / (1.0 + np.exp(-(day_of_year - LEAF_FALL_DAY) / 8.0))
    return Ground(
        canopy=canopy,
        moisture=np.clip(moisture + world.wet_spot, 0.0, 1.0).astype(np.float32),
        leaf_on=float(leaf_out * (1.0 - leaf_fall)),
        charred=charred.astype(np.float32),
        snow=snow,
    )
