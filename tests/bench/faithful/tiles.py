"""Tiles in the layout of the field's preprocessing, the norms of the releases, made-up tiles.

Shapes: T dates, H rows, W columns; Sentinel-2 bands in the order B04 B02 B03 B08 B8A B05 B06 B07
B11 B12, Sentinel-1 as VV VH in scaled decibels, (0, 0) where missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The arrays of one tile and year, named as their files.

    bands (T, H, W, 10) uint16, masks (T, H, W) uint8 with 1 = clear, doys (T,) uint16; for each
    orbit (T', H, W, 2) int16 and (T',) int16, where T' may be 0.
    """

    bands: npt.NDArray[np.uint16]
    masks: npt.NDArray[np.uint8]
    doys: npt.NDArray[np.uint16]
    sar_ascending: npt.NDArray[np.int16]
    sar_ascending_doy: npt.NDArray[np.int16]
    sar_descending: npt.NDArray[np.int16]
    sar_descending_doy: npt.NDArray[np.int16]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.masks.shape[1], self.masks.shape[2]


# ------------------------------------------------------------------------------------- norms


class Stats:
    """Mean and standard deviation per band, float32."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = np.array(mean, np.float32)
        self.std = np.array(std, np.float32)

    def apply(self, raw: npt.NDArray[np.generic]) -> Array:
        """Standardise (..., bands), in float32."""
        return (raw.astype(np.float32) - self.mean) / (self.std + np.float32(EPSILON))


@dataclass(frozen=True, slots=True)
class Norms:
    """What one release standardises with."""

    s2: Stats
    ascending: Stats
    descending: Stats


_V1_0_S1 = Stats((5484.0407, 3003.7812), (1871.2334, 1726.0670))

V1_0 = Norms(
    Stats(
        (
            1711.0938, 1308.8511, 1546.4543, 3010.1293, 3106.5083,
            2068.3044, 2685.0845, 2931.5889, 2514.6928, 1899.4922,
        ),
        (
            1926.1026, 1862.9751, 1803.1792, 1741.7837, 1677.4543,
            1888.7862, 1736.3090, 1715.8104, 1514.5199, 1398.4779,
        ),
    ),
    _V1_0_S1,
    _V1_0_S1,
)  # fmt: skip

V1_1_MPC = Norms(
    Stats(
        (
            2683.4553, 2223.3630, 2432.0950, 3633.1970, 3602.1755,
            3006.4324, 3400.2710, 3515.6392, 2456.9163, 1983.8783,
        ),
        (
            2739.5217, 2846.2993, 2690.8250, 2290.0439, 2088.8970,
            2673.1106, 2381.4521, 2229.5225, 1601.0942, 1495.3545,
        ),
    ),
    Stats((5588.3291, 3025.6270), (1713.4646, 1693.0471)),
    Stats((5552.9683, 2955.0520), (1685.5857, 1677.6414)),
)  # fmt: skip

V1_1_AWS = Norms(
    Stats(
        (
            2793.6589, 2356.7776, 2551.0496, 3741.9229, 3713.7844,
            3120.1997, 3516.3342, 3637.0342, 2501.0283, 2038.1504,
        ),
        (
            2810.0093, 2933.8835, 2755.6360, 2344.5027, 2145.7986,
            2743.9019, 2438.8601, 2286.5977, 1680.7367, 1585.5529,
        ),
    ),
    Stats((5697.0859, 2838.6687), (1671.3737, 1789.4116)),
    Stats((5759.1367, 2873.2854), (1583.2858, 1747.8390)),
)  # fmt: skip

V2 = Norms(
    Stats(
        (
            1633.0042, 1341.1090, 1539.5536, 3054.8269, 3117.4658,
            2004.1648, 2694.7275, 2945.1504, 2266.6079, 1657.3094,
        ),
        (
            1999.4603, 2014.7549, 1929.2201, 1754.2493, 1649.9807,
            1936.8988, 1748.6041, 1708.6991, 1207.5250, 1108.6046,
        ),
    ),
    Stats((5909.3921, 3405.0322), (1507.1750, 1531.2615)),
    Stats((5816.1382, 3277.7576), (1554.6475, 1546.4733)),
)  # fmt: skip


# ----------------------------------------------------------------------------------- buckets

BUCKETS = range(8, 257, 8)


def bucket_of(num_valid: int) -> int:
    """Return the smallest bucket that holds ``num_valid``, the largest where none does."""
    for bucket in BUCKETS:
        if bucket >= num_valid:
            return bucket
    return BUCKETS[-1]


# ------------------------------------------------------------------------------ made-up tiles

SOIL = (1900, 1000, 1400, 2600, 2800, 2100, 2300, 2500, 3200, 2600)
LEAVES = (400, 300, 700, 4200, 4400, 1000, 3000, 3900, 2000, 900)
COVERS = (
    # share of leaves kept from its season, brightness, scaled dB of VV and VH added
    (1.0, 1.0, (0, 0)),  # crops
    (0.1, 0.15, (-2600, -1500)),  # water
    (0.1, 1.4, (2400, 2300)),  # buildings
    (0.6, 0.6, (500, 1100)),  # forest
)
"""Land covers: a tile of one cover only would have embeddings that hardly differ."""

COVER_SIZE = 3
CLOUD_REFLECTANCE = 6000
CLEAR_SLOPE = 0.15
"""How far the share of clear dates departs from its mean at the left and right edge of a tile."""


def synthetic_tile(
    height: int,
    width: int,
    *,
    num_s2: int = 60,
    clear_share: float = 0.6,
    num_asc: int = 50,
    num_desc: int = 50,
    edge_share: float = 0.25,
    seed: int,
) -> Tile:
    """Make up a tile of four land covers: every pixel its own season and its own clear dates.

    The number of clear dates varies by chance and rises from left to right. The leftmost
    ``edge_share`` of the columns lacks every fourth ascending date, as at the edge of a swath.
    """
    rng = np.random.default_rng(seed)
    days = _days(num_s2, rng)
    cover = _cover(height, width, rng)
    greenness = cover[..., :1] * _greenness(days, height, width, rng)[..., None]
    reflectance = greenness * np.array(LEAVES) + (1 - greenness) * np.array(SOIL)
    reflectance *= cover[..., 1:2] * rng.normal(1, 0.05, reflectance.shape)

    slope = min(CLEAR_SLOPE, clear_share, 1 - clear_share) * np.linspace(-1, 1, width)
    masks = rng.random((num_s2, height, width)) < clear_share + slope
    cloud = np.where(masks, 0, rng.normal(CLOUD_REFLECTANCE, 1500, masks.shape))
    bands = np.clip(reflectance + cloud[..., None], 1, 16000).astype(np.uint16)

    orbits = []
    for num in (num_asc, num_desc):
        orbit_days = _days(num, rng)
        rise = _greenness(orbit_days, height, width, rng)[..., None]
        scaled = np.array((4700, 1900)) + rise * np.array((1600, 2400))
        scaled = scaled + cover[..., 2:] + rng.normal(0, 500, scaled.shape)
        orbits.append((np.clip(scaled, 1, 32767).astype(np.int16), orbit_days.astype(np.int16)))
    (ascending, ascending_days), (descending, descending_days) = orbits
    ascending[::4, :, : round(edge_share * width)] = 0
    return Tile(
        bands=bands,
        masks=masks.astype(np.uint8),
        doys=days.astype(np.uint16),
        sar_ascending=ascending,
        sar_ascending_doy=ascending_days,
        sar_descending=descending,
        sar_descending_doy=descending_days,
    )


def _cover(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return share of leaves, brightness and two radar offsets of each pixel, (H, W, 4)."""
    rows, columns = -(-height // COVER_SIZE), -(-width // COVER_SIZE)
    patches = rng.integers(0, len(COVERS), (rows, columns))
    blocks = patches.repeat(COVER_SIZE, 0).repeat(COVER_SIZE, 1)[:height, :width]
    table = np.array([(leaves, bright, *radar) for leaves, bright, radar in COVERS])
    return table[blocks]


def _days(num: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.sort(rng.choice(np.arange(1, 366), num, replace=False))


def _greenness(
    days: npt.NDArray[np.int64], height: int, width: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return a season per pixel, (T, H, W) from 0 to 1."""
    peak = rng.uniform(120, 260, (height, width))
    length = rng.uniform(25, 80, (height, width))
    top = rng.uniform(0.2, 1, (height, width))
    return top * np.exp(-(((days[:, None, None] - peak) / length) ** 2))
