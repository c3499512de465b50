"""Sentinel-2 acquisitions: when they happen, and the two granules each of them delivers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import REFLECTANCE_SCALE, S2_BANDS
from tessera_core.domain.reflectance import BASELINE_OFFSET, OffsetPolicy, carries_offset
from tessera_core.domain.scl import SceneClass
from tessera_core.simulate.classification import classify_scene
from tessera_core.simulate.config import SimulateConfig
from tessera_core.simulate.ground import World, ground_on
from tessera_core.simulate.landscape import FINE
from tessera_core.simulate.noise import FloatArray, Stream, box_mean, stream
from tessera_core.simulate.surface import surface_reflectance
from tessera_core.simulate.weather import Sky, Weather, draw_sky, through_sky

COARSE: Final = 2
"""10 m pixels along one 20 m pixel."""

FIRST_DAY: Final = 3
REVISIT_DAYS: Final = 5
OVERPASS_UTC: Final = timedelta(hours=10, minutes=4, seconds=11)

TRACKS: Final = (("Sentinel-2A", 122, 1.03), ("Sentinel-2B", 22, 0.96))
"""Satellite, relative orbit and brightness of the viewing side, taking turns.

One satellite per orbit, where in truth both fly both: it halves the number of files.
"""

EDGE_ORBIT: Final = 22
EDGE_SHARE: Final = 0.80
"""The swath of ``EDGE_ORBIT`` ends at about this share of the width."""

GRANULES: Final = ("33UWP", "33UXP")
"""Western and eastern granule; in miniature, hence smaller than the real ones."""

OVERLAP_SHARE: Final = 1 / 6

SENSOR_NOISE: Final = 0.0012
SENSOR_GRAIN: Final = 0.012

MAX_CLOUD_PERCENT: Final = 95.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticalOverpass:
    """One Sentinel-2 acquisition over the whole area."""

    acquired: datetime
    platform: str
    relative_orbit: int
    brightness: float
    """Of this viewing side relative to the mean of both."""

    @property
    def day_of_year(self) -> int:
        """Day of year, 1..366, UTC."""
        return self.acquired.timetuple().tm_yday


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpticalScene:
    """The product of one acquisition for one granule."""

    overpass: OpticalOverpass
    granule: str
    first_column: int
    """Column of 10 m in the area at which the granule begins."""

    bands: dict[str, npt.NDArray[np.uint16]]
    """By band name, (y, x) at native resolution, digital numbers, 0 = no data."""

    scl: npt.NDArray[np.uint8]
    """(y, x) of 20 m, ``SceneClass``."""

    @property
    def cloud_percent(self) -> float:
        """Share of cloud and cirrus among pixels with data, 0..100; 100 where there is none."""
        return self.class_percent(
            SceneClass.CLOUD_MEDIUM, SceneClass.CLOUD_HIGH, SceneClass.THIN_CIRRUS
        )

    def class_percent(self, *classes: SceneClass) -> float:
        """Return the share of the classes among pixels with data, 0..100."""
        num_seen = int((self.scl != SceneClass.NO_DATA).sum())
        if num_seen == 0:
            return 100.0
        return 100.0 * float(np.isin(self.scl, classes).sum()) / num_seen


def optical_overpasses(year: int) -> list[OpticalOverpass]:
    """Return all acquisitions of a year in time order, about every fifth day."""
    start = datetime(year, 1, 1, tzinfo=UTC) + OVERPASS_UTC
    days_in_year = (datetime(year + 1, 1, 1, tzinfo=UTC) - datetime(year, 1, 1, tzinfo=UTC)).days
    overpasses = []
    for turn, day in enumerate(range(FIRST_DAY, days_in_year + 1, REVISIT_DAYS)):
        platform, orbit, brightness = TRACKS[turn % len(TRACKS)]
        acquired = start + timedelta(days=day - 1, minutes=10 * (turn % len(TRACKS)))
        overpasses.append(
            OpticalOverpass(
                acquired=acquired, platform=platform, relative_orbit=orbit, brightness=brightness
            )
        )
    return overpasses


def granule_columns(width: int) -> tuple[slice, slice]:
    """Return the columns of the western and the eastern granule, aligned to 20 m."""
    half_overlap = max(1, round(width * OVERLAP_SHARE / 4)) * COARSE
    middle = width // 4 * COARSE
    return slice(0, middle + half_overlap), slice(middle - half_overlap, width)


def optical_scenes(
    config: SimulateConfig, world: World, weather: Weather, overpass: OpticalOverpass
) -> Iterator[OpticalScene]:
    """Yield the granules of one acquisition, without those that clouds leave nothing of."""
    day = overpass.day_of_year
    rng = stream(config.seed, Stream.OPTICAL, config.year, day)
    sky = draw_sky(
        rng,
        (config.height, config.width),
        cloudiness=float(weather.cloudiness[day - 1]),
        day_of_year=day,
    )
    ground = ground_on(
        world,
        day,
        moisture=float(weather.moisture[day - 1]),
        snow=float(weather.snow[day - 1]),
    )
    surface = box_mean(surface_reflectance(world, ground), FINE) * np.float32(overpass.brightness)
    seen = through_sky(surface, sky)
    swath = _swath(config, overpass, rng)
    for granule, columns in zip(GRANULES, granule_columns(config.width), strict=True):
        number = GRANULES.index(granule)
        granule_rng = stream(config.seed, Stream.OPTICAL, config.year, day, number)
        scene = _granule_scene(granule_rng, overpass, granule, columns, seen, sky, swath)
        if scene.cloud_percent <= MAX_CLOUD_PERCENT:
            yield scene


def _swath(
    config: SimulateConfig, overpass: OpticalOverpass, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Return True (y, x at 20 m) where the swath reaches."""
    shape = (config.height // COARSE, config.width // COARSE)
    rows, columns = np.indices(shape)
    jitter = rng.normal(0.0, 0.01)
    edge = (EDGE_SHARE + jitter) * shape[1] - 0.12 * rows
    if overpass.relative_orbit != EDGE_ORBIT:
        return np.ones(shape, dtype=np.bool_)
    reached: npt.NDArray[np.bool_] = columns < edge
    return reached


def _granule_scene(
    rng: np.random.Generator,
    overpass: OpticalOverpass,
    granule: str,
    columns: slice,
    seen: FloatArray,
    sky: Sky,
    swath: npt.NDArray[np.bool_],
) -> OpticalScene:
    fine = seen[:, :, columns]
    coarse_columns = slice(columns.start // COARSE, columns.stop // COARSE)
    has_data = swath[:, coarse_columns]
    scl = classify_scene(
        rng,
        reflectance=box_mean(fine, COARSE),
        opacity=box_mean(sky.opacity[:, columns], COARSE),
        cirrus=box_mean(sky.cirrus[:, columns], COARSE),
        shadow=box_mean(sky.shadow[:, columns], COARSE),
        has_data=has_data,
    )
    offset = carries_offset(overpass.acquired.date(), OffsetPolicy.BY_DATE)
    bands = {}
    for index, band in enumerate(S2_BANDS):
        is_fine = band.resolution_m == S2_BANDS[0].resolution_m
        values = fine[index] if is_fine else box_mean(fine[index], COARSE)
        covered = enlarge_mask(has_data) if is_fine else has_data
        bands[band.name] = _digital_numbers(rng, values, covered, offset=offset)
    return OpticalScene(
        overpass=overpass,
        granule=granule,
        first_column=int(columns.start),
        bands=bands,
        scl=scl,
    )


def enlarge_mask(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return a 20 m mask on the 10 m grid."""
    return mask.repeat(COARSE, axis=0).repeat(COARSE, axis=1)


def _digital_numbers(
    rng: np.random.Generator,
    reflectance: FloatArray,
    covered: npt.NDArray[np.bool_],
    *,
    offset: bool,
) -> npt.NDArray[np.uint16]:
    noise = rng.standard_normal(reflectance.shape, dtype=np.float32)
    noisy = reflectance * (1.0 + SENSOR_GRAIN * noise) + SENSOR_NOISE * noise
    # Never 0, which would read as no data.
    numbers = np.clip(np.rint(noisy * REFLECTANCE_SCALE), 1, 20_000)
    numbers = numbers + (BASELINE_OFFSET if offset else 0)
    return np.where(covered, numbers, 0).astype(np.uint16)
