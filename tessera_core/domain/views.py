"""Which observations training sees: sparse random views of each d-pixel.

Shapes: B d-pixels, T observations (padded), K observations drawn.
"""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def draw_view(valid_BT: npt.NDArray[np.bool_], length: int, rng: np.random.Generator) -> Indices:
    """Draw one sparse random temporal view per d-pixel (method.md 3.1).

    Without replacement where a d-pixel has at least ``length`` valid observations, with
    replacement where it has fewer. A d-pixel without any gets index 0 throughout; the caller
    decides what that means.

    Args:
        valid_BT: True where an observation may be drawn.
        length: K, observations per view.
        rng: Source of randomness; the draw depends on nothing else.

    Returns:
        (B, K) indices into T, ascending in each row.
    """
    num_pixels, num_times = valid_BT.shape
    if num_times == 0:
        return np.zeros((num_pixels, length), np.int64)
    num_valid = valid_BT.sum(axis=1)
    # Random keys put the valid observations first, in random order.
    keys_BT = np.where(valid_BT, rng.random(valid_BT.shape, np.float32), np.float32(2))
    order_BT = np.argsort(keys_BT, axis=1)
    without = np.broadcast_to(np.arange(length), (num_pixels, length))
    repeated = (rng.random((num_pixels, length)) * num_valid[:, None]).astype(np.int64)
    position = np.where(num_valid[:, None] >= length, without, repeated)
    chosen = np.take_along_axis(order_BT, np.minimum(position, num_times - 1), axis=1)
    return np.where(num_valid[:, None] > 0, np.sort(chosen, axis=1), 0)


def view_overlap(first_BK: Indices, second_BK: Indices) -> float:
    """Return the mean share of positions at which two views hold the same observation, 0..1."""
    return float((first_BK == second_BK).mean())
