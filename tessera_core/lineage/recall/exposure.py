"""How much of the data a recalled scene is: by training d-pixel and by exported pixel.

An observation counts where the encoder can read it: clear Sentinel-2, Sentinel-1 that is there. Of
two scenes of one day and tile the mosaic takes one per pixel and does not keep which, so the
shares are upper bounds there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tessera_core.domain.backscatter import present_mask
from tessera_core.domain.bands import NUM_S1
from tessera_core.domain.scl import clear_mask
from tessera_core.lineage.recall.recalled import Days, TileYear
from tessera_core.records.samples import read_row_groups
from tessera_core.records.schema import SAMPLES, SHARD

SERIES_COLUMNS: Final = {"s2": "s2_scl", "s1_ascending": "s1_ascending",
                         "s1_descending": "s1_descending"}  # fmt: skip
"""Series -> column that says which of its observations can be used."""

COLUMNS: Final = [
    name for series, column in SERIES_COLUMNS.items() for name in (column, f"{series}_day_of_year")
]

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainExposure:
    """Training d-pixels with at least one usable observation of what is recalled."""

    num_touched: int
    """Those."""

    num_pixels: int
    """All d-pixels of the train split."""

    @property
    def share(self) -> float:
        """0..1."""
        return self.num_touched / self.num_pixels if self.num_pixels else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TileExposure:
    """Share of usable observations per exported pixel of one tile."""

    tile: str
    """Tile name."""

    year: int
    """Calendar year."""

    mean: float
    """0..1, over all pixels."""

    max: float
    """0..1, of the pixel that has most of it."""


def train_exposure(shards: Iterable[Path], tiles: Mapping[TileYear, Days | None]) -> TrainExposure:
    """Count the d-pixels of train shards that were touched.

    Args:
        shards: Files of the train split.
        tiles: Where and when; None for all days.
    """
    num_touched = num_pixels = 0
    for path in shards:
        for table in read_row_groups(path, SHARD, ["tile", "year", *COLUMNS]):
            num_pixels += table.num_rows
            for (tile, year), days in tiles.items():
                is_there = pc.and_(pc.equal(table["tile"], tile), pc.equal(table["year"], year))
                touched, _ = count_observations(table.filter(is_there), days)
                num_touched += int((touched > 0).sum())
    return TrainExposure(num_touched=num_touched, num_pixels=num_pixels)


def tile_exposure(samples: Path, place: TileYear, days: Days | None) -> TileExposure:
    """Return the share of observations per pixel of one tile's samples."""
    shares = [np.zeros(0)]
    for table in read_row_groups(samples, SAMPLES, COLUMNS):
        touched, usable = count_observations(table, days)
        shares.append(touched / np.maximum(usable, 1))
    share = np.concatenate(shares)
    return TileExposure(
        tile=place[0],
        year=place[1],
        mean=float(share.mean()) if len(share) else 0.0,
        max=float(share.max(initial=0.0)),
    )


def count_observations(table: pa.Table, days: Days | None) -> tuple[Counts, Counts]:
    """Return per d-pixel (N,) the usable observations on those days, and all usable ones."""
    table = table.combine_chunks()  # so that parents are counted from the first row
    touched = np.zeros(table.num_rows, np.int64)
    usable = np.zeros(table.num_rows, np.int64)
    for series, column in SERIES_COLUMNS.items():
        day = pc.list_flatten(table[f"{series}_day_of_year"]).to_numpy()
        pixel = pc.list_parent_indices(table[f"{series}_day_of_year"]).to_numpy()
        values = pc.list_flatten(table[column]).to_numpy()
        is_usable = (
            clear_mask(values) if series == "s2" else present_mask(values.reshape(-1, NUM_S1))
        )
        usable += np.bincount(pixel[is_usable], minlength=table.num_rows)
        if days is None:
            continue
        is_meant = is_usable & np.isin(day, sorted(days.get(series, ())))
        touched += np.bincount(pixel[is_meant], minlength=table.num_rows)
    return (usable if days is None else touched), usable
