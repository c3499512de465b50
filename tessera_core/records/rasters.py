"""How a raster of the user's is opened: as GeoTIFF or JPEG 2000, and by its own bytes alone.

GDAL knows some 150 formats by content, whatever a file is called, and several of them (VRT, WMS,
WCS) only say where to read on: any file of this machine, any address. Nothing that lies beside a
raster is obeyed either, for no receipt has its digest.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import SceneError
from tessera_core.records.files import require_regular

DRIVERS: Final = {
    "GTiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JP2OpenJPEG": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
}
"""The drivers that open anything here, by the first bytes of their files; a COG is a GTiff."""

MAX_PIXELS: Final = 1 << 28
"""Of a raster, or a part of one, that is read into memory at once: 16,384 x 16,384."""

_OPTIONS: Final = {
    # No side-car file: neither listed nor guessed (.aux.xml, .ovr, .msk, .tfw, .rpb ...).
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_MAX_DATASET_POOL_SIZE": 64,
}
_SHOWN_BYTES: Final = 12


@contextlib.contextmanager
def open_raster(path: Path, what: str = "") -> Iterator[Any]:
    """Yield an open raster on disk, which may lack coordinates.

    Args:
        path: The file.
        what: Put before the path in errors.

    Raises:
        SceneError: It is missing, not a GeoTIFF or JPEG 2000 file, or broken; also where the
            block's reads fail.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            driver = driver_of(file.read(_SHOWN_BYTES), f"{what}{path}")
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        if isinstance(error, SceneError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise SceneError(f"cannot read {what}{path}: {reason}") from error
    # Absolute, so that no name reads as one of GDAL's prefixes, such as GTIFF_DIR:
    with _opened(path.absolute(), driver, f"{what}{path}") as source:
        yield source


@contextlib.contextmanager
def open_stream(name: str, stream: Callable[[], io.RawIOBase], driver: str) -> Iterator[Any]:
    """Yield an open raster that a seekable stream holds.

    Args:
        name: What errors call it.
        stream: Returns the stream, positioned anywhere.
        driver: From ``driver_of``.

    Raises:
        SceneError: It is broken; also where the block's reads fail.
    """
    with _opened("raster", driver, name, opener=lambda _path, mode="rb": stream()) as source:
        yield source


def driver_of(first: bytes, name: str) -> str:
    """Return the driver for a file by its first bytes; raises SceneError where there is none."""
    for driver, marks in DRIVERS.items():
        if first.startswith(marks):
            return driver
    raise SceneError(
        f"cannot read {name}: it begins with {first[:_SHOWN_BYTES]!r}, so it is truncated or not "
        "a GeoTIFF or JPEG 2000 file, and no other format is opened; convert it with "
        "`rio convert` or download it again"
    )


def require_readable(shape: tuple[int, int], name: object) -> None:
    """Refuse to read more pixels at once than fit into memory; raises SceneError."""
    if shape[0] * shape[1] > MAX_PIXELS:
        raise SceneError(
            f"{name} has {shape[0]} x {shape[1]} pixels where they are needed at once, expected "
            f"at most {MAX_PIXELS}; cut it to the area of the scenes"
        )


def read_whole(source: Any, name: object) -> npt.NDArray[Any]:
    """Return the first band of an open raster as it is stored, (row, column)."""
    require_readable(source.shape, name)
    values: npt.NDArray[Any] = source.read(1)
    return values


@contextlib.contextmanager
def _opened(place: Path | str, driver: str, name: str, **options: Any) -> Iterator[Any]:
    import rasterio
    from rasterio._err import CPLE_BaseError  # what escapes the library where GDAL's errors do
    from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

    try:
        with rasterio.Env(**_OPTIONS):
            with warnings.catch_warnings():
                # Whoever needs coordinates says so in an error of its own.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                source = rasterio.open(place, driver=driver, **options)
            with source:
                if np.dtype(source.dtypes[0].replace("_int16", "64")).kind == "c":
                    raise SceneError(f"{name} holds complex numbers, expected real ones")
                yield source
    except (RasterioError, CPLE_BaseError, CRSError, UnicodeDecodeError) as error:
        raise SceneError(
            f"cannot read {name}: {error}; is the file truncated or not a GeoTIFF?"
        ) from error
