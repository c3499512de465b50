"""A long-form table and its labels on disk, as benchmarks read them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera_core.domain.bands import S1_BANDS, S2_BANDS

Frame = dict[str, Any]
OPTICAL_DATES = 3
RADAR_DATES = 2


def long_series(num: int, seed: int = 0) -> Frame:
    """Return columns of ``num`` d-pixels, each with three S2 and two S1 acquisitions."""
    rng = np.random.default_rng(seed)
    dates = OPTICAL_DATES + RADAR_DATES
    is_optical = np.tile(np.arange(dates) < OPTICAL_DATES, num)
    rows = num * dates
    return {
        "pixel_id": np.repeat(np.arange(num), dates),
        "sensor": np.where(is_optical, "S2", "S1"),
        "doy": np.tile(np.array([350, 15, 46, 20, 60], np.int16), num),
        "valid": np.ones(rows, np.uint8),
        **{
            band.name: np.where(is_optical, rng.integers(100, 5000, rows), np.nan)
            for band in S2_BANDS
        },
        **{
            band.name: np.where(is_optical, np.nan, rng.integers(100, 9000, rows))
            for band in S1_BANDS
        },
    }


def long_labels(num: int) -> Frame:
    """Return labels of ``num`` d-pixels: two classes, a place for every two of them."""
    number = np.arange(num)
    return {
        "pixel_id": number,
        "label": 1 + number % 2,
        "year": np.full(num, 2017),
        "position": number // 2,
        "group": [f"survey {each % 3}" for each in number],
        "lon": 30 + number // 2 * 0.01,
        "lat": 4 + number // 2 * 0.01,
        "split": [(None, "train", "test")[each % 3] for each in number],
    }


def write_long_table(folder: Path, series: Frame, labels: Frame) -> tuple[Path, Path]:
    """Write both tables as ``points.parquet`` and ``points-labels.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "points.parquet", folder / "points-labels.parquet"
    for path, frame in zip(paths, (series, labels), strict=True):
        pq.write_table(pa.table(frame), path)
    return paths
