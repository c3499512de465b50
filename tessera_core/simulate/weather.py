"""Weather of the year: cloudiness, rain, soil moisture, snow; and the sky over one scene."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import S2_NAMES
from tessera_core.simulate.config import WHOLE_YEAR, SimulateConfig
from tessera_core.simulate.noise import FloatArray, Stream, smooth_noise, stream

DAYS: Final = len(WHOLE_YEAR)
MID_SUMMER_DAY: Final = 196

# Cloudiness is a logistic of day-to-day persistent noise about a seasonal level.
CLOUD_LEVEL: Final = 0.4
CLOUD_SEASON: Final = 0.75
CLOUD_SWING: Final = 2.8
CLOUD_MEMORY: Final = 0.55

DRYING_PER_DAY: Final = 0.90
SNOW_EPISODES: Final = 3
SNOW_DAYS: Final = (4, 9)

SHADOW_DARKENING: Final = 0.55
SHADOW_REACH_PIXELS: Final = 8.0
"""Where the sun stands at 45 degrees."""

MAX_SHADOW_REACH: Final = 24.0
VEIL_CHANCE: Final = 0.25
VEIL_OPACITY: Final = (0.08, 0.28)
HAZE_SHAPE: Final = 1.4
HAZE_SCALE: Final = 0.011
GAIN_SPREAD: Final = 0.055
BAND_GAIN_SPREAD: Final = 0.018

LATITUDE_DEGREES: Final = 48.6
LOWEST_SUN_ZENITH: Final = 75.0

# Path radiance by band, relative to blue, in the order of S2_BANDS: haze falls with wavelength.
HAZE_SPECTRUM: Final = np.array(
    [0.45, 1.0, 0.65, 0.20, 0.19, 0.38, 0.32, 0.25, 0.05, 0.03], dtype=np.float32
)
CLOUD_SPECTRUM: Final = np.array(
    [0.60, 0.62, 0.60, 0.66, 0.66, 0.61, 0.63, 0.65, 0.48, 0.38], dtype=np.float32
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weather:
    """Weather of a year; every array is (366,), entry 0 being 1 January."""

    cloudiness: npt.NDArray[np.float64]
    """Expected share of sky under cloud, 0..1."""

    rain_mm: npt.NDArray[np.float64]

    moisture: npt.NDArray[np.float64]
    """Water in the topsoil, 0 dry .. 1 soaked; remembers the rain of past weeks."""

    snow: npt.NDArray[np.float64]
    """Share of the ground under snow, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sky:
    """What stands between sensor and ground during one overpass; arrays are (y, x) of 10 m."""

    opacity: FloatArray
    """Share of the signal that comes from clouds, 0..1."""

    cirrus: FloatArray
    """Part of it due to thin, high cloud, 0..1."""

    shadow: FloatArray
    """Depth of cloud shadow, 0..1."""

    haze: FloatArray
    """Path reflectance in the blue band, >= 0."""

    gain: FloatArray
    """(band,), error of illumination and atmospheric correction on this date, about 1."""


def draw_weather(config: SimulateConfig) -> Weather:
    """Draw the weather of the year."""
    rng = stream(config.seed, Stream.WEATHER, config.year)
    day = np.arange(1, DAYS + 1)
    season = np.cos(2.0 * np.pi * (day - MID_SUMMER_DAY) / 365.0)
    front = _persistent_noise(rng, CLOUD_MEMORY)
    level = CLOUD_LEVEL - CLOUD_SEASON * season + CLOUD_SWING * front
    cloudiness = 1.0 / (1.0 + np.exp(-level))
    is_wet = rng.random(DAYS) < 0.55 * cloudiness
    rain = np.where(is_wet, rng.gamma(0.9, 5.0, DAYS), 0.0)
    snow = np.zeros(DAYS)
    # The cold season of the calendar year, in its two ends.
    starts = rng.permutation(np.r_[5:50, 335:355])[:SNOW_EPISODES]
    for start in starts:
        length = int(rng.integers(*SNOW_DAYS))
        snow[start : start + length] = rng.uniform(0.6, 0.95)
    return Weather(cloudiness=cloudiness, rain_mm=rain, moisture=_moisture(rain, season), snow=snow)


def _persistent_noise(rng: np.random.Generator, memory: float) -> npt.NDArray[np.float64]:
    white = rng.standard_normal(DAYS)
    noise = np.empty(DAYS)
    noise[0] = white[0]
    for day in range(1, DAYS):
        noise[day] = memory * noise[day - 1] + np.sqrt(1.0 - memory**2) * white[day]
    return noise


def _moisture(
    rain_mm: npt.NDArray[np.float64], season: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return a bucket that fills with rain and dries, faster in summer."""
    keep = DRYING_PER_DAY - 0.04 * season
    moisture = np.empty(DAYS)
    level = 0.6
    for day in range(DAYS):
        level = min(1.0, keep[day] * level + 0.045 * rain_mm[day])
        moisture[day] = level
    return moisture


def sun_position(day_of_year: int) -> tuple[float, float]:
    """Return zenith and azimuth of the sun in degrees at the mid-morning overpass."""
    declination = -23.44 * np.cos(2.0 * np.pi * (day_of_year + 10) / 365.0)
    # Noon elevation less what the two hours before noon cost.
    zenith = LATITUDE_DEGREES - declination + 5.0
    azimuth = 163.0 - 12.0 * np.cos(2.0 * np.pi * (day_of_year - 172) / 365.0)
    return float(zenith), float(azimuth)


def draw_sky(
    rng: np.random.Generator, shape: tuple[int, int], *, cloudiness: float, day_of_year: int
) -> Sky:
    """Draw clouds, their shadows and the haze of one overpass.

    Args:
        rng: source of chance, of this overpass alone.
        shape: rows and columns of 10 m.
        cloudiness: expected share of sky under cloud, 0..1.
        day_of_year: 1..366, decides where shadows fall.
    """
    zenith, azimuth = sun_position(day_of_year)
    slant = float(np.tan(np.radians(min(zenith, LOWEST_SUN_ZENITH))))
    reach = min(SHADOW_REACH_PIXELS * slant, MAX_SHADOW_REACH)
    # Shadows lie away from the sun: rows grow southwards, columns eastwards.
    down = round(float(reach * np.cos(np.radians(azimuth))))
    right = round(float(-reach * np.sin(np.radians(azimuth))))
    margin = max(abs(down), abs(right))
    padded = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    body = 0.85 * smooth_noise(rng, padded, 14.0) + 0.53 * smooth_noise(rng, padded, 4.0)
    covered = min(max(cloudiness, 0.002), 0.998)
    threshold = NormalDist().inv_cdf(1.0 - covered)
    thickness = np.maximum(body - threshold, 0.0)
    cloud = 1.0 - np.exp(-4.5 * thickness)
    rows, columns = slice(margin, margin + shape[0]), slice(margin, margin + shape[1])
    above = cloud[rows, columns]
    shifted = cloud[
        margin - down : margin - down + shape[0], margin - right : margin - right + shape[1]
    ]
    veil = rng.uniform(*VEIL_OPACITY) if rng.random() < VEIL_CHANCE else 0.0
    cirrus = veil * np.clip(0.6 + 0.5 * smooth_noise(rng, shape, 22.0), 0.0, 1.0)
    haze = rng.gamma(HAZE_SHAPE, HAZE_SCALE) * np.exp(0.3 * smooth_noise(rng, shape, 25.0))
    gain = np.exp(rng.normal(0.0, GAIN_SPREAD) + rng.normal(0.0, BAND_GAIN_SPREAD, len(S2_NAMES)))
    return Sky(
        opacity=(1.0 - (1.0 - above) * (1.0 - cirrus)).astype(np.float32),
        cirrus=cirrus.astype(np.float32),
        shadow=(shifted * (1.0 - above)).astype(np.float32),
        haze=haze.astype(np.float32),
        gain=gain.astype(np.float32),
    )


def through_sky(reflectance: FloatArray, sky: Sky) -> FloatArray:
    """Return what the sensor sees of ``reflectance`` (band, y, x) through the sky."""
    lit = reflectance * sky.gain[:, None, None] * (1.0 - SHADOW_DARKENING * sky.shadow)
    hazy = lit * (1.0 - 1.2 * sky.haze) + HAZE_SPECTRUM[:, None, None] * sky.haze
    clouds = CLOUD_SPECTRUM[:, None, None] * sky.opacity
    seen: FloatArray = (hazy * (1.0 - sky.opacity) + clouds).astype(np.float32)
    return seen
