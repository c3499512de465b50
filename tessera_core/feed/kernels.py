"""Compiled loops of the feed; importing this module loads numba.

Shapes: B d-pixels, T observations (padded), M stored observations, N stored d-pixels, C bands.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic

from tessera_core.domain.compiled import compiled

LINE: Final = 64
"""Bytes of a cache line."""

AHEAD: Final = 2
"""D-pixels between the one that is copied and the one that is asked for."""

FAR_AHEAD: Final = 4
"""D-pixels between the one that is copied and the one whose addresses are looked up."""


def _generate_prefetch(_: Any, array: Any, index: Any) -> Any:
    """Ask the processor for the cache line of ``array[index]``, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        # to be read, keep in every level of the cache, data
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return numba.types.void(array, index), generate


_prefetch: Any = intrinsic(_generate_prefetch)


@compiled
def longest(offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> int:
    """Return the length of the longest series of some d-pixels, 0 for none."""
    length = 0
    for place in range(len(rows)):
        length = max(length, offsets[rows[place] + 1] - offsets[rows[place]])
    return length


@compiled
def _copy(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    # Plain loops over slices become vector instructions; slice assignment does not.
    for i in range(len(source)):
        target[i] = source[i]
    for i in range(len(source), len(target)):
        target[i] = 0


@compiled
def copy_padded(
    values: npt.NDArray[np.uint16],
    day_of_year: npt.NDArray[np.uint16],
    valid: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    num_bands: int,
    out_values: npt.NDArray[np.uint16],
    out_day_of_year: npt.NDArray[np.uint16],
    out_valid: npt.NDArray[np.uint8],
) -> None:
    """Fill (B, T * C), (B, T) and (B, T) from (M * C,), (M,) and (M,).

    Rows lie anywhere, so the copying waits for memory. Asking for the d-pixel after next while
    this one is copied makes the whole a third faster, and looking up the pages of a later one a
    tenth more.
    """
    for place in range(len(rows)):
        if place + FAR_AHEAD < len(rows):
            row = rows[place + FAR_AHEAD]
            start, stop = offsets[row], offsets[row + 1]
            _prefetch(values, start * num_bands)
            _prefetch(values, stop * num_bands - 1)
            _prefetch(day_of_year, start)
            _prefetch(valid, start)
        if place + AHEAD < len(rows):
            row = rows[place + AHEAD]
            start, stop = offsets[row], offsets[row + 1]
            for i in range(start * num_bands, stop * num_bands, LINE // 2):
                _prefetch(values, i)
            for i in range(start, stop, LINE // 2):
                _prefetch(day_of_year, i)
            for i in range(start, stop, LINE):
                _prefetch(valid, i)
        start, stop = offsets[rows[place]], offsets[rows[place] + 1]
        _copy(values[start * num_bands : stop * num_bands], out_values[place])
        _copy(day_of_year[start:stop], out_day_of_year[place])
        _copy(valid[start:stop], out_valid[place])


_pread: Any = numba.types.ExternalFunction(
    "pread",
    numba.types.int64(numba.types.int32, numba.types.uintp, numba.types.uintp, numba.types.int64),
)


@compiled
def read_bounds(
    descriptor: int,
    body: int,
    rows: npt.NDArray[np.int64],
    out_bounds: npt.NDArray[np.int64],
) -> int:
    """Fill (B, 2) with the first observation of each d-pixel and the one behind its last.

    Args:
        descriptor: Open file of the offsets.
        body: Bytes before the first of them.
        rows: (B,), d-pixels that exist.
        out_bounds: (B, 2), in C order.

    Returns:
        How many d-pixels were read; fewer than B where the file could not be read any further.
    """
    address = out_bounds.ctypes.data
    for place in range(len(rows)):
        if _pread(descriptor, address + 16 * place, 16, body + 8 * rows[place]) != 16:
            return place
    return len(rows)


@compiled
def read_padded(
    descriptor: int,
    body: int,
    width: int,
    bounds: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> int:
    """Fill (B, T * width) bytes with the observations within (B, 2) bounds.

    Args:
        descriptor: Open file of the observations.
        body: Bytes before the first of them.
        width: Bytes of one observation.
        bounds: (B, 2), first observation of each d-pixel and the one behind its last.
        out: (B, T * width), in C order; what lies behind the observations becomes 0.

    Returns:
        How many d-pixels were read; fewer than B where the file could not be read any further.
    """
    address, room = out.ctypes.data, out.shape[1]
    for place in range(len(bounds)):
        start, stop = bounds[place, 0] * width, bounds[place, 1] * width
        size = stop - start
        if size < 0 or size > room:
            return place
        if _pread(descriptor, address + room * place, size, body + start) != size:
            return place
        for i in range(size, room):
            out[place, i] = 0
    return len(bounds)
