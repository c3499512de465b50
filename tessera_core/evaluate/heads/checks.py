"""What a head asks of its training rows."""

from typing import Any

import numpy as np
import numpy.typing as npt


def only_class(classes: npt.NDArray[np.integer[Any]]) -> int | None:
    """Return the class that all training rows have, or None where there are several."""
    return int(classes[0]) if (classes == classes[0]).all() else None
