"""Arrays to the bytes of small cloud-optimised GeoTIFFs on the simulated area's frame."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

EPSG: Final = 32633
LEFT_M: Final = 606_720.0
TOP_M: Final = 5_386_240.0
"""Upper left corner: arable country north of Vienna, on a multiple of 2,560 m. Only the frame
is real; nothing of the landscape is."""

PIXEL_M: Final = 10

BLOCK_PIXELS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where an array lies: upper left corner, pixel size and shape."""

    left_m: float
    top_m: float
    pixel_m: int
    rows: int
    columns: int

    @property
    def transform(self) -> list[float]:
        """Affine transform in the order of ``proj:transform``."""
        return [float(self.pixel_m), 0.0, self.left_m, 0.0, -float(self.pixel_m), self.top_m]

    @property
    def bbox_m(self) -> list[float]:
        """Left, bottom, right and top in metres of EPSG:32633."""
        right = self.left_m + self.pixel_m * self.columns
        bottom = self.top_m - self.pixel_m * self.rows
        return [self.left_m, bottom, right, self.top_m]

    def bbox_degrees(self) -> list[float]:
        """Return west, south, east and north of the corners in WGS 84."""
        corners = self.corners_degrees()
        longitudes, latitudes = zip(*corners, strict=True)
        return [min(longitudes), min(latitudes), max(longitudes), max(latitudes)]

    def corners_degrees(self) -> list[tuple[float, float]]:
        """Return longitude and latitude of the four corners, counter-clockwise."""
        from rasterio.warp import transform

        left, bottom, right, top = self.bbox_m
        longitudes, latitudes = transform(
            f"EPSG:{EPSG}", "EPSG:4326", [left, right, right, left], [bottom, bottom, top, top]
        )
        # Seven decimals are a centimetre, and hide differences between PROJ builds.
        return [
            (round(longitude, 7), round(latitude, 7))
            for longitude, latitude in zip(longitudes, latitudes, strict=True)
        ]


def frame_of(shape: tuple[int, int], *, pixel_m: int = PIXEL_M, first_column: int = 0) -> Frame:
    """Return the frame of an array.

    Args:
        shape: rows and columns.
        pixel_m: pixel size in metres.
        first_column: column of 10 m in the area at which the array begins.
    """
    return Frame(
        left_m=LEFT_M + PIXEL_M * first_column,
        top_m=TOP_M,
        pixel_m=pixel_m,
        rows=shape[0],
        columns=shape[1],
    )


def encode_cog(values: npt.NDArray[Any], frame: Frame, *, nodata: float | None) -> bytes:
    """Return the bytes of a one-band COG; the same array gives the same bytes.

    Args:
        values: (y, x).
        frame: where it lies.
        nodata: the no-data value to declare, or None.
    """
    from rasterio import Affine
    from rasterio.crs import CRS
    from rasterio.io import MemoryFile

    with MemoryFile() as memory:
        with memory.open(
            driver="COG",
            height=frame.rows,
            width=frame.columns,
            count=1,
            dtype=values.dtype,
            crs=CRS.from_epsg(EPSG),
            transform=Affine(*frame.transform),
            nodata=nodata,
            compress="deflate",
            predictor="yes",
            blocksize=BLOCK_PIXELS,
            overviews="none",
        ) as dataset:
            dataset.write(np.ascontiguousarray(values), 1)
        return bytes(memory.getbuffer())
