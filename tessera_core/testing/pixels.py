"""Seeded d-pixels with obscured, missing and ragged observations, made without any file."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.feed.reader import Feed

LAST_DAY: Final = 366
MISSING: Final = 0

NORMS: Final = NormStats(
    s2=BandStats(
        mean=tuple(1500.0 + 100 * band for band in range(NUM_S2)),
        std=tuple(900.0 + 50 * band for band in range(NUM_S2)),
    ),
    s1_ascending=BandStats(mean=(5600.0, 3100.0), std=(700.0, 800.0)),
    s1_descending=BandStats(mean=(5300.0, 3400.0), std=(900.0, 600.0)),
)
"""Normalisation for made-up d-pixels; every band and orbit has its own, so mix-ups show."""


def random_pixels(num: int, seed: int, *, max_clear: int = 20, max_radar: int = 9) -> DPixels:
    """Return ``num`` d-pixels that differ in level and season, as land covers do.

    Each has 1 to ``max_clear`` clear S2 observations, 0 to ``max_radar`` S1 observations per
    orbit, and 3 more of each sensor that are obscured or missing.
    """
    rng = np.random.default_rng([seed, num])
    return make_pixels(
        rng.integers(1, max_clear, num, endpoint=True),
        rng.integers(0, max_radar, num, endpoint=True),
        rng.integers(0, max_radar, num, endpoint=True),
        seed=seed,
        num_unusable=3,
    )


def make_pixels(
    optical: npt.ArrayLike,
    ascending: npt.ArrayLike,
    descending: npt.ArrayLike,
    *,
    seed: int,
    num_unusable: int = 0,
) -> DPixels:
    """Return d-pixels with given numbers of valid observations, all (N,).

    Args:
        optical: Clear S2 observations of each d-pixel.
        ascending: S1 ascending observations that are present.
        descending: S1 descending observations that are present.
        seed: Chooses everything else.
        num_unusable: Obscured or missing observations added to each series.
    """
    rng = np.random.default_rng(seed)
    counts = [np.asarray(count, np.int64) for count in (optical, ascending, descending)]
    cover = rng.random((len(counts[0]), 2))
    return DPixels(
        optical=_optical(counts[0], num_unusable, cover, rng),
        ascending=_radar(counts[1], num_unusable, cover, rng),
        descending=_radar(counts[2], num_unusable, cover, rng),
    )


def _optical(
    num_clear: npt.NDArray[np.int64],
    num_unusable: int,
    cover: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> Series:
    pixel, days, offsets, valid = _calendar(num_clear, num_unusable, rng)
    level, phase = cover[pixel].T
    season = np.sin(2 * np.pi * (days / LAST_DAY - phase))
    band = np.arange(NUM_S2) / NUM_S2
    reflectance = 600 + 1500 * level[:, None] * (1 + band) + 500 * season[:, None] * (0.2 + band)
    # Clouds are bright, which a model that looks at them would notice.
    reflectance += np.where(valid, 0, 6000)[:, None] + rng.normal(0, 60, reflectance.shape)
    return Series(
        values=reflectance.clip(1, 65_535).astype(np.uint16),
        day_of_year=days,
        offsets=offsets,
        valid=valid,
    )


def _radar(
    num_present: npt.NDArray[np.int64],
    num_unusable: int,
    cover: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> Series:
    pixel, days, offsets, valid = _calendar(num_present, num_unusable, rng)
    vv = 4800 + 1400 * cover[pixel, 0] + rng.normal(0, 200, len(days))
    scaled_db = np.stack([vv, vv - 2300 + 300 * cover[pixel, 1]], axis=-1).clip(1, 32_767)
    return Series(
        values=np.where(valid[:, None], scaled_db, MISSING).astype(np.int16).reshape(-1, NUM_S1),
        day_of_year=days,
        offsets=offsets,
        valid=valid,
    )


def _calendar(
    num_valid: npt.NDArray[np.int64], num_unusable: int, rng: np.random.Generator
) -> tuple[
    npt.NDArray[np.int64], npt.NDArray[np.uint16], npt.NDArray[np.int64], npt.NDArray[np.bool_]
]:
    """Return pixel (M,), day (M,) ascending within a pixel, offsets (N + 1,), valid (M,)."""
    totals = num_valid + num_unusable
    pixel = np.repeat(np.arange(len(totals)), totals)
    offsets = np.concatenate([[0], np.cumsum(totals)]).astype(np.int64)
    drawn = rng.integers(1, LAST_DAY, len(pixel), endpoint=True).astype(np.uint16)
    days = drawn[np.lexsort((drawn, pixel))]
    # A random order within each pixel; its first ``num_valid`` places are the valid ones.
    shuffled = np.lexsort((rng.random(len(pixel)), pixel))
    valid = np.zeros(len(pixel), np.bool_)
    place = np.arange(len(pixel)) - offsets[pixel]
    valid[shuffled] = place < num_valid[pixel]
    return pixel, days, offsets, valid


def as_feed(pixels: DPixels, tile: npt.NDArray[np.int32] | None = None) -> Feed:
    """Return d-pixels as a feed that training takes, all of one tile unless told otherwise.

    Args:
        pixels: N d-pixels.
        tile: (N,), code of each d-pixel's tile.
    """
    tile = np.zeros(len(pixels), np.int32) if tile is None else tile
    place = np.arange(len(pixels), dtype=np.float64)
    counts = np.bincount(tile)
    return Feed(
        pixels=pixels,
        epsg=np.full(len(pixels), 32631, np.int32),
        x=place,
        y=place,
        tile=tile,
        tiles=tuple(f"tile{code}-2022" for code in range(len(counts))),
        tile_counts=counts,
        files={},
        is_resident=True,
    )
