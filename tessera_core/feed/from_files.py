"""Any d-pixels as one padded batch, read from files of which nothing stays in this process.

A page of a mapped file that was touched counts as this process's memory, and around each touched
byte the kernel maps more: tens to hundreds of kilobytes. A few thousand d-pixels at random
places so become gigabytes. Reading copies only what is asked for, for a call to the kernel each.

Shapes: B d-pixels, T observations (padded), C bands.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.domain.padded import PaddedPixels, PaddedSeries
from tessera_core.errors import RecordError
from tessera_core.feed.from_arrays import check_rows, padded_length
from tessera_core.records.arrays import ArrayFile


def fetch(files: Mapping[str, ArrayFile], rows: npt.NDArray[np.int64]) -> PaddedPixels:
    """Read all observations of some d-pixels; equals ``gather`` of the same arrays, mapped.

    May be called from several threads at once: reading holds no GIL.

    Args:
        files: The arrays of a feed by name, such as ``optical.values``.
        rows: (B,), d-pixels in any order, repeats allowed.

    Raises:
        RecordError: A row does not exist, rows are not int64 (B,), or a file is gone or shorter
            than it was.
    """
    check_rows(rows, files["optical.offsets"].shape[0] - 1)
    rows = np.ascontiguousarray(rows)
    return PaddedPixels(
        optical=_fetch_series(files, "optical", rows),
        ascending=_fetch_series(files, "ascending", rows),
        descending=_fetch_series(files, "descending", rows),
    )


def _fetch_series(
    files: Mapping[str, ArrayFile], sensor: str, rows: npt.NDArray[np.int64]
) -> PaddedSeries:
    bounds = _fetch_bounds(files[f"{sensor}.offsets"], rows)
    length = padded_length(int((bounds[:, 1] - bounds[:, 0]).max(initial=0)))
    return PaddedSeries(
        values=_fetch_part(files[f"{sensor}.values"], bounds, length),
        day_of_year=_fetch_part(files[f"{sensor}.day_of_year"], bounds, length),
        valid=_fetch_part(files[f"{sensor}.valid"], bounds, length),
    )


def _fetch_bounds(file: ArrayFile, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    from tessera_core.feed.kernels import read_bounds

    bounds = np.empty((len(rows), 2), np.int64)
    with file.open() as opened:
        num_read = read_bounds(opened.fileno(), file.body, rows, bounds)
    _check_all_read(num_read, len(rows), file)
    return bounds


def _fetch_part(file: ArrayFile, bounds: npt.NDArray[np.int64], length: int) -> npt.NDArray[Any]:
    from tessera_core.feed.kernels import read_padded

    part = np.empty((len(bounds), length, *file.shape[1:]), file.dtype)
    width = file.dtype.itemsize * int(np.prod(file.shape[1:], dtype=np.int64))
    octets = part.view(np.uint8).reshape(len(bounds), length * width)
    with file.open() as opened:
        num_read = read_padded(opened.fileno(), file.body, width, bounds, octets)
    _check_all_read(num_read, len(bounds), file)
    return part


def _check_all_read(num_read: int, num_asked: int, file: ArrayFile) -> None:
    if num_read != num_asked:
        raise RecordError(
            f"{file.path} could be read for {num_read} of {num_asked} d-pixels only; has it "
            f"changed since it was opened? Delete {file.path.parent} and run again"
        )
