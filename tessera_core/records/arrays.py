"""NPY files that are complete, or an error."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an NPY file in C order, with the bytes of ``np.save``; raises OSError on a full disk.

    ``np.save`` itself hands the file to C, which keeps the last kilobytes in a buffer of its own
    and says nothing when they no longer fit on the disk.
    """
    ordered = np.ascontiguousarray(array)
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(ordered))
        file.write(ordered.data)
