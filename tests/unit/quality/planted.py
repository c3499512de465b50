"""Hand-made tiles on disk, healthy until a test plants a fault."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import SceneClass
from tessera_core.domain.tile import OpticalSeries, RadarSeries, TileSeries, empty_radar
from tessera_core.quality.config import QualityConfig
from tessera_core.records.samples import (
    SAMPLES_NAME,
    SCENES_NAME,
    Scene,
    read_table,
    tile_folder,
    write_table,
    write_tile,
)
from tessera_core.records.schema import SAMPLES, SCENES

WIDTH, HEIGHT = 6, 5
YEAR = 2018
S2_DAYS = np.arange(8, 366, 15, dtype=np.uint16)
S1_DAYS = np.arange(3, 366, 24, dtype=np.uint16)
SCENE = Scene(
    scene_id="S2A_20180108",
    collection="sentinel-2-l2a",
    acquired="2018-01-08",
    orbit="",
    baseline="02.06",
    offset_removed=False,
    asset="B04",
    href="scenes/B04.tif",
    sha256="ab" * 32,
)


def healthy_parts() -> dict[str, Any]:
    """Return the arrays of a tile without fault: noise around plausible values."""
    rng = np.random.default_rng(5)
    cube = (len(S2_DAYS), HEIGHT, WIDTH)
    radar = [(len(S1_DAYS), HEIGHT, WIDTH)] * 2
    return {
        "grid": TileGrid(epsg=32631, west=500_000, north=5_600_000, width=WIDTH, height=HEIGHT),
        "reflectance": rng.integers(300, 4000, (*cube, 10)).astype(np.uint16),
        "scl": np.full(cube, SceneClass.VEGETATION, np.uint8),
        "days": S2_DAYS.copy(),
        "ascending": _backscatter(rng, radar[0]),
        "descending": _backscatter(rng, radar[1]),
        "scenes": [SCENE],
    }


def store(samples: Path, name: str, parts: dict[str, Any]) -> Path:
    """Write a tile and return its folder; an orbit that is None has no acquisition."""
    grid = parts["grid"]
    orbits = {
        orbit: empty_radar(grid)
        if parts[orbit] is None
        else RadarSeries(backscatter_scaled_db=parts[orbit], day_of_year=S1_DAYS)
        for orbit in ("ascending", "descending")
    }
    tile = TileSeries(
        name=name,
        year=YEAR,
        grid=grid,
        optical=OpticalSeries(
            reflectance=parts["reflectance"], scl=parts["scl"], day_of_year=parts["days"]
        ),
        inside=np.ones((grid.height, grid.width), np.bool_),
        **orbits,
    )
    folder = tile_folder(samples, name, YEAR)
    write_tile(tile, parts["scenes"], folder)
    return folder


def rewrite(folder: Path, **columns: Callable[[Any], Any]) -> None:
    """Change columns of a stored tile past all checks; each function maps a plain list."""
    path = folder / SAMPLES_NAME
    table = read_table(path, SAMPLES)
    changed = [
        pa.array(columns[field.name](table[field.name].to_pylist()), field.type)
        if field.name in columns
        else table[field.name]
        for field in table.schema
    ]
    write_table(pa.table(changed, schema=table.schema), path)


def rewrite_scenes(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the scenes table of a stored tile."""
    write_table(pa.Table.from_pylist(rows, schema=SCENES), folder / SCENES_NAME)


def _backscatter(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    vv, vh = rng.normal(5500, 700, shape), rng.normal(3200, 700, shape)
    return np.stack([vv, vh], axis=-1).clip(1, 12_000).astype(np.int16)


def limits(**changes: Any) -> QualityConfig:
    """Return the limits of the shipped settings, with a small sample."""
    values = {
        "min_clear_median": 8,
        "max_share_without_clear": 0.01,
        "max_date_gap_days": 120,
        "max_duplicate_share": 0.05,
        "num_sample_rows": 30,
        "seed": 11,
    }
    return QualityConfig(**{**values, **changes})
