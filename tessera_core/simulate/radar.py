"""Sentinel-1 acquisitions: gamma0 in linear power from canopy, soil and forest, with speckle."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.simulate.config import SimulateConfig
from tessera_core.simulate.ground import Ground, World, ground_on
from tessera_core.simulate.landscape import FINE, LandCover
from tessera_core.simulate.noise import FloatArray, Stream, box_mean, stream
from tessera_core.simulate.weather import Weather

NODATA: Final = -32768.0
"""No-data value of the product."""

REVISIT_DAYS: Final = 12

# Looks of the product come to 1.8 / 0.40 = 4.5 after neighbours are mixed with these weights.
SPECKLE_SHAPE: Final = 1.8
CENTRE_WEIGHT: Final = 0.6
SIDE_WEIGHT: Final = 0.1

SOIL_VV_DB: Final = -14.0
SOIL_VH_DB: Final = -22.5
MOISTURE_VV_DB: Final = 5.5
MOISTURE_VH_DB: Final = 4.0
CANOPY_VV_DB: Final = -10.8
CANOPY_ATTENUATION: Final = 0.33

WET_LEAVES_DB: Final = 0.12
"""Gain per millimetre of rain on the day."""

MAX_WET_LEAVES_DB: Final = 1.2
DATE_SPREAD_DB: Final = 0.35
ROW_SPREAD_DB: Final = 0.8
WIND_SPREAD_DB: Final = 2.0

FOREST_VV_DB: Final = -10.0
FOREST_VH_DB: Final = -19.0
FOREST_VH_GAIN_DB: Final = 5.0
FOREST_VH_HEIGHT_M: Final = 14.0
BURNT_FOREST_DB: Final = -2.5
FOLIAGE_VH_DB: Final = 0.6

OTHER_COVER_DB: Final = (
    (LandCover.HEDGE, -10.5, -16.0),
    (LandCover.BUILT_UP, -6.0, -14.0),
    (LandCover.WATER, -19.0, -27.0),
)
"""Cover, VV and VH in dB."""

# Mantissa bits cut off: 0.001 dB of precision is plenty and the files get a third smaller.
CUT_BITS: Final = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarTrack:
    """A relative orbit and what of the area its swath covers."""

    relative_orbit: int
    orbit_state: str
    first_day: int
    utc: timedelta
    brightness_db: float
    """Effect of the incidence angle."""

    first_share: float
    """The swath begins at this share of the width; 0 covers all."""

    gap: tuple[int, int] = (0, 0)
    """Days of year without acquisitions, first and last."""


TRACKS: Final = (
    RadarTrack(
        relative_orbit=73,
        orbit_state="ascending",
        first_day=2,
        utc=timedelta(hours=16, minutes=42, seconds=35),
        brightness_db=0.0,
        first_share=0.0,
    ),
    RadarTrack(
        relative_orbit=146,
        orbit_state="ascending",
        first_day=7,
        utc=timedelta(hours=16, minutes=50, seconds=41),
        brightness_db=-0.9,
        first_share=0.45,
    ),
    RadarTrack(
        relative_orbit=22,
        orbit_state="descending",
        first_day=5,
        utc=timedelta(hours=5, minutes=1, seconds=17),
        brightness_db=0.8,
        first_share=0.28,
        gap=(152, 214),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarOverpass:
    """One Sentinel-1 acquisition."""

    acquired: datetime
    track: RadarTrack

    @property
    def day_of_year(self) -> int:
        """Day of year, 1..366, UTC."""
        return self.acquired.timetuple().tm_yday


def radar_overpasses(year: int) -> list[RadarOverpass]:
    """Return all acquisitions of a year in time order: one satellite, every 12 days a track."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    days_in_year = (datetime(year + 1, 1, 1, tzinfo=UTC) - start).days
    overpasses = [
        RadarOverpass(acquired=start + timedelta(days=day - 1) + track.utc, track=track)
        for track in TRACKS
        for day in range(track.first_day, days_in_year + 1, REVISIT_DAYS)
        if not track.gap[0] <= day <= track.gap[1]
    ]
    return sorted(overpasses, key=lambda overpass: overpass.acquired)


def radar_scene(
    config: SimulateConfig, world: World, weather: Weather, overpass: RadarOverpass
) -> FloatArray:
    """Return gamma0 (2, y, x) of VV and VH in linear power at 10 m, ``NODATA`` off the swath."""
    day, track = overpass.day_of_year, overpass.track
    rng = stream(config.seed, Stream.RADAR, config.year, day, track.relative_orbit)
    ground = ground_on(
        world,
        day,
        moisture=float(weather.moisture[day - 1]),
        snow=float(weather.snow[day - 1]),
    )
    wet_leaves_db = min(MAX_WET_LEAVES_DB, WET_LEAVES_DB * float(weather.rain_mm[day - 1]))
    date_db = track.brightness_db + wet_leaves_db + rng.normal(0.0, DATE_SPREAD_DB)
    power = surface_power(world, ground, wind_db=rng.normal(0.0, WIND_SPREAD_DB))
    # Rows seen along or across differ by track: a lasting bias per field and track.
    row_rng = stream(config.seed, Stream.RADAR, config.year, 0, track.relative_orbit)
    row_db = row_rng.normal(0.0, ROW_SPREAD_DB, world.landscape.parcel_cover.size)
    power = power * _linear(date_db + row_db[world.landscape.parcel])
    mean = box_mean(power.astype(np.float32), FINE)
    gamma0 = np.stack([band * _speckle(rng, band.shape) for band in mean])
    gamma0 = np.where(_swath(config, track), gamma0, np.float32(NODATA)).astype(np.float32)
    return _shorten(gamma0)


def surface_power(world: World, ground: Ground, *, wind_db: float) -> FloatArray:
    """Return mean gamma0 (2, y, x) of the 5 m cells, VV and VH, in linear power.

    Args:
        world: the place.
        ground: its state on the day.
        wind_db: how much waves brighten open water.
    """
    landscape, cover = world.landscape, world.landscape.cover
    vv, vh = _field_power(world, ground)

    forest = cover == LandCover.FOREST
    closed = 1.0 - np.exp(-landscape.canopy_height_m / FOREST_VH_HEIGHT_M)
    foliage_db = FOLIAGE_VH_DB * ground.leaf_on * (1.0 - landscape.conifer)
    burnt_db = BURNT_FOREST_DB * ground.charred
    vv = np.where(forest, _linear(FOREST_VV_DB + 1.2 * closed + burnt_db), vv)
    forest_vh_db = FOREST_VH_DB + FOREST_VH_GAIN_DB * closed + foliage_db + burnt_db
    vh = np.where(forest, _linear(forest_vh_db), vh)
    for kind, vv_db, vh_db in OTHER_COVER_DB:
        waves_db = wind_db if kind == LandCover.WATER else 0.0
        vv = np.where(cover == kind, _linear(vv_db + waves_db), vv)
        vh = np.where(cover == kind, _linear(vh_db + 0.5 * waves_db), vh)
    return np.stack([vv, vh]).astype(np.float32)


def _field_power(world: World, ground: Ground) -> tuple[FloatArray, FloatArray]:
    """Soil seen through a canopy that both scatters and attenuates (water-cloud form)."""
    parcel, traits, canopy = world.landscape.parcel, world.traits, ground.canopy
    roughness_db = traits.roughness_db[parcel]
    soil_vv = _linear(SOIL_VV_DB + MOISTURE_VV_DB * ground.moisture + roughness_db)
    soil_vh = _linear(SOIL_VH_DB + MOISTURE_VH_DB * ground.moisture + 0.7 * roughness_db)
    # Dry straw still scatters a little.
    mass = canopy.lai + 0.8 * canopy.straw
    through = np.exp(-2.0 * CANOPY_ATTENUATION * mass)
    stems_db = traits.stem_loss_db[parcel] * np.minimum(mass / 4.0, 1.0)
    volume_vh = _linear(traits.volume_vh_db[parcel]) * (1.0 - through)
    volume_vv = _linear(CANOPY_VV_DB) * (1.0 - through)
    vv = (soil_vv * through + volume_vv) * _linear(-stems_db)
    vh = soil_vh * through * _linear(-0.5 * stems_db) + volume_vh
    return vv.astype(np.float32), vh.astype(np.float32)


def _speckle(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Return speckle (y, x) of mean 1 and about 4.5 looks, a little correlated."""
    rows, columns = shape
    grains = rng.gamma(SPECKLE_SHAPE, 1.0 / SPECKLE_SHAPE, (rows + 2, columns + 2))
    sides = grains[:-2, 1:-1] + grains[2:, 1:-1] + grains[1:-1, :-2] + grains[1:-1, 2:]
    return (CENTRE_WEIGHT * grains[1:-1, 1:-1] + SIDE_WEIGHT * sides).astype(np.float32)


def _swath(config: SimulateConfig, track: RadarTrack) -> npt.NDArray[np.bool_]:
    rows, columns = np.indices((config.height, config.width))
    edge = track.first_share * config.width
    slant = 0.15 if track.orbit_state == "ascending" else -0.15
    reached: npt.NDArray[np.bool_] = columns >= edge + slant * (rows - config.height / 2)
    return reached if track.first_share > 0 else np.ones_like(reached)


def _shorten(power: FloatArray) -> FloatArray:
    kept = np.uint32(0xFFFFFFFF << CUT_BITS & 0xFFFFFFFF)
    shortened: FloatArray = (power.view(np.uint32) & kept).view(np.float32)
    return shortened


def _linear(decibel: npt.NDArray[np.floating] | float) -> FloatArray:
    exponent = np.asarray(decibel, dtype=np.float32) / np.float32(10.0)
    power: FloatArray = np.power(np.float32(10.0), exponent)
    return power
