"""Where a tile lies: a UTM pixel grid, and the spatial blocks that keep splits apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.errors import SceneError

FIRST_UTM_NORTH, LAST_UTM_NORTH = 32601, 32660
FIRST_UTM_SOUTH, LAST_UTM_SOUTH = 32701, 32760
MAX_COORDINATE_M = 20_000_000
"""No easting or northing on Earth is further from zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """The north-up 10 m pixel grid of one tile in its UTM zone."""

    epsg: int
    """EPSG code of a UTM zone, 32601..32660 or 32701..32760."""

    west: float
    """Easting of the outer edge of column 0, metres."""

    north: float
    """Northing of the outer edge of row 0, metres."""

    width: int
    """Number of columns."""

    height: int
    """Number of rows."""

    def __post_init__(self) -> None:
        """Refuse grids that are not metric UTM, not on Earth, or have no pixel."""
        if not is_utm(self.epsg):
            raise SceneError(
                f"EPSG:{self.epsg} is not a UTM zone (32601..32660, 32701..32760), "
                "but tiles are metric; reproject the source or its region of interest"
            )
        if not all(abs(edge) <= MAX_COORDINATE_M for edge in self.bounds):  # NaN is not either
            raise SceneError(
                f"a tile with its north-west corner at {self.west}, {self.north} m does not lie on "
                f"Earth; expected metres of EPSG:{self.epsg}, at most {MAX_COORDINATE_M}"
            )
        if self.width < 1 or self.height < 1:
            raise SceneError(
                f"a tile of {self.width} x {self.height} pixels holds nothing; "
                "expected at least 1 x 1"
            )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres."""
        size = TILE_RESOLUTION_M
        return (
            self.west,
            self.north - self.height * size,
            self.west + self.width * size,
            self.north,
        )

    @property
    def utm_zone(self) -> int:
        """UTM zone number, 1..60."""
        return self.epsg % 100

    def centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return eastings (width,) and northings (height,) of the pixel centres, metres."""
        half = TILE_RESOLUTION_M / 2
        x = self.west + half + TILE_RESOLUTION_M * np.arange(self.width, dtype=np.float64)
        y = self.north - half - TILE_RESOLUTION_M * np.arange(self.height, dtype=np.float64)
        return x, y


def is_utm(epsg: int) -> bool:
    """Return whether an EPSG code is that of a UTM zone on WGS 84."""
    return FIRST_UTM_NORTH <= epsg <= LAST_UTM_NORTH or FIRST_UTM_SOUTH <= epsg <= LAST_UTM_SOUTH


def block_ids(
    epsg: npt.NDArray[np.int32],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    block_size_m: int,
) -> npt.NDArray[np.int64]:
    """Return one integer per position naming its spatial block; all inputs (N,).

    Blocks are anchored to the CRS, not to a tile, so overlapping tiles share them and a
    position can never be on both sides of a split.

    Args:
        epsg: CRS code of each position.
        x: Eastings in metres.
        y: Northings in metres, negative allowed.
        block_size_m: Edge of a block in metres.
    """
    column = np.floor(x / block_size_m).astype(np.int64)
    row = np.floor(y / block_size_m).astype(np.int64)
    # 2**22 blocks of 10 m or more span 40,000 km: rows, columns and zones cannot collide.
    span = np.int64(1 << 22)
    return (epsg.astype(np.int64) * span + column) * (2 * span) + (row + span)
