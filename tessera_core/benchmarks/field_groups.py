"""Where each field is at home: the one group that may learn from it or be asked about it.

A patch of several labels has many fields, and a field lies in many patches. Linking all groups that
share a field would make one of everything, so a field counts in one group alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import TileGrid
from tessera_core.records.labels import GROUP_RASTER, MAX_PARCELS, raster_places, read_raster

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Homes:
    """One place for each of F fields, whatever tile is looked at."""

    parcel: Ints
    """(F,), field id, ascending."""

    epsg: npt.NDArray[np.int32]
    """(F,), CRS of the place."""

    x: Floats
    """(F,), easting, metres."""

    y: Floats
    """(F,), northing, metres."""

    def within(self, grid: TileGrid) -> tuple[Ints, Ints, Ints]:
        """Return the fields at home in a grid, (H,), as ids, pixel rows and columns."""
        row = np.floor((grid.north - self.y) / TILE_RESOLUTION_M).astype(np.int64)
        column = np.floor((self.x - grid.west) / TILE_RESOLUTION_M).astype(np.int64)
        inside = (row >= 0) & (row < grid.height) & (column >= 0) & (column < grid.width)
        inside &= self.epsg == grid.epsg
        return self.parcel[inside], row[inside], column[inside]


def field_homes(folders: list[Path], *, is_one_numbering: bool) -> Homes:
    """Return the middle d-pixel of every field of some rasters, in their reading order.

    Args:
        folders: Where label rasters are; the first one that has a field says where it is.
        is_one_numbering: Whether equal ids are one field in all folders, as in tiles of one source;
            else ids are told apart as ``read_label`` does.
    """
    parts = [
        _middles(folder / GROUP_RASTER, 0 if is_one_numbering else number * MAX_PARCELS)
        for number, folder in enumerate(folders)
        if (folder / GROUP_RASTER).is_file()
    ]
    empty = Homes(
        parcel=np.empty(0, np.int64), epsg=np.empty(0, np.int32), x=np.empty(0), y=np.empty(0)
    )
    whole = [empty, *parts]
    parcel, first = np.unique(np.concatenate([part.parcel for part in whole]), return_index=True)
    return Homes(
        parcel=parcel,
        epsg=np.concatenate([part.epsg for part in whole])[first],
        x=np.concatenate([part.x for part in whole])[first],
        y=np.concatenate([part.y for part in whole])[first],
    )


def is_at_home(parcel: Ints, group: Ints, home: Ints, group_of_home: Ints) -> npt.NDArray[np.bool_]:
    """Return which d-pixels may count, (N,): those without a field, and those in its home group.

    Args:
        parcel: (N,), field of each d-pixel, 0 = none.
        group: (N,), its group.
        home: (H,), fields at home here, ascending.
        group_of_home: (H,), their groups.
    """
    if not len(home):
        return parcel <= 0
    place = np.minimum(np.searchsorted(home, parcel), len(home) - 1)
    counts: npt.NDArray[np.bool_] = (parcel <= 0) | (
        (home[place] == parcel) & (group_of_home[place] == group)
    )
    return counts


def _middles(path: Path, offset: int) -> Homes:
    ids = read_raster(path)
    order = np.argsort(ids, axis=None, kind="stable")
    parcel, start, count = np.unique(ids.ravel()[order], return_index=True, return_counts=True)
    middle = order[start + count // 2][parcel > 0]
    row, column = np.unravel_index(middle, ids.shape)
    epsg, x, y = raster_places(path, row, column)
    parcel = parcel[parcel > 0] + offset
    return Homes(parcel=parcel, epsg=np.full(len(parcel), epsg, np.int32), x=x, y=y)
