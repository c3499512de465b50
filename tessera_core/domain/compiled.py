"""Loops that are compiled at their first call; importing this module loads numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile a function of arrays and numbers, which then runs without the GIL.

    numba keeps the machine code beside the source or in the user's cache folder, whichever can be
    written to; where neither can, every process compiles anew (some seconds).
    """
    # numpy's errors: no look-out for division by zero, so that divisions become vectors.
    try:
        return cast("Kernel", numba.njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # numba found no cache folder that it may write to
        return cast("Kernel", numba.njit(nogil=True, error_model="numpy")(function))
