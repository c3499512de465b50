"""NPY files that are complete, or an error: written whole or row by row, mapped, or read in place.

numpy leaves room in a header for any number of rows, so a file that grew row by row has the very
bytes of one that was written at once.
"""

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from tessera_core.errors import RecordError


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an NPY file in C order, with the bytes of ``np.save``; raises OSError on a full disk.

    ``np.save`` itself hands the file to C, which keeps the last kilobytes in a buffer of its own
    and says nothing when they no longer fit on the disk.
    """
    ordered = np.ascontiguousarray(array)
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(ordered))
        file.write(ordered.data)


class GrowingArray:
    """An NPY file that rows are appended to; leaving its ``with`` block writes their number.

    Args:
        path: File to write; an old one is replaced.
        dtype: Of its elements.
        row_shape: Shape of one row; () for a one-dimensional array.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, row_shape: tuple[int, ...]) -> None:
        self._empty = np.zeros((0, *row_shape), dtype)
        self._num_rows = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write (n, *row_shape) behind what is there; raises OSError on a full disk.

        Raises:
            RecordError: The rows are of another type or shape.
        """
        if rows.dtype != self._empty.dtype or rows.shape[1:] != self._empty.shape[1:]:
            raise RecordError(
                f"{self._file.name} holds rows of {self._empty.dtype} {self._empty.shape[1:]}, "
                f"not of {rows.dtype} {rows.shape[1:]}"
            )
        self._file.write(np.ascontiguousarray(rows).data)
        self._num_rows += len(rows)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the number of rows and close; raises OSError on a full disk."""
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()

    def _write_header(self) -> None:
        header = npy.header_data_from_array_1_0(self._empty)
        shape = (self._num_rows, *self._empty.shape[1:])
        npy.write_array_header_1_0(self._file, {**header, "shape": shape})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFile:
    """An NPY file in C order that is there and as long as its header says."""

    path: Path
    """The file."""

    body: int
    """Bytes before the first element."""

    dtype: np.dtype[Any]
    """Of its elements."""

    shape: tuple[int, ...]
    """Of the array."""

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    def open(self) -> BinaryIO:
        """Open it for reading; raises RecordError when that fails."""
        try:
            return self.path.open("rb")
        except OSError as error:
            raise RecordError(f"cannot read {self.path}: {error.strerror}") from error


def inspect_array(path: Path) -> ArrayFile:
    """Read an NPY header; raises RecordError when missing, malformed, cut off or too long."""
    try:
        with path.open("rb") as file:
            if (version := npy.read_magic(file)) != (1, 0):
                raise ValueError(f"version {version}, expected (1, 0)")
            shape, fortran_order, dtype = npy.read_array_header_1_0(file)
            body = file.tell()
        size = path.stat().st_size
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RecordError(f"{path} is not an NPY file: {error}") from error
    array = ArrayFile(path=path, body=body, dtype=dtype, shape=shape)
    if fortran_order or size != body + array.size:
        raise RecordError(
            f"{path} has {size} bytes, expected {body + array.size} for {dtype} {shape} in C order"
        )
    return array


def map_array(file: ArrayFile) -> tuple[npt.NDArray[Any], mmap.mmap]:
    """Return the array, read-only and read from disk where it is touched, and its mapping.

    The file is to stay as it is meanwhile; it may be deleted.
    """
    with file.open() as opened:
        mapping = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    array: npt.NDArray[Any] = np.ndarray(file.shape, file.dtype, buffer=mapping, offset=file.body)
    return array, mapping
