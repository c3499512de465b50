"""Cut an area into parcels of varying size: slightly warped rectangles, as fields are."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.simulate.noise import smooth_noise

PARCEL_PIXELS: Final = (28.0, 118.0)
"""A piece below a size drawn from this range (in 10 m pixels) is split no further."""

SPLIT_SHARES: Final = (0.35, 0.65)
ROAD_DEPTH: Final = 4
"""Borders of the first cuts carry roads; later cuts are mere field borders."""

TILT_RADIANS: Final = 0.35
WARP_CELLS: Final = 3.0


def split_into_parcels(
    rng: np.random.Generator, shape: tuple[int, int], *, cells: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the parcel and the road block of each cell, both (y, x), numbered from 0.

    Args:
        rng: source of chance.
        shape: rows and columns of the grid.
        cells: grid cells that make one 10 m pixel.
    """
    along, across = _warped_axes(rng, shape)
    parcel = np.zeros(along.size, dtype=np.int32)
    block = np.zeros(along.size, dtype=np.int32)
    num_parcels = num_blocks = 0
    pending: list[tuple[npt.NDArray[np.int64], int]] = [(np.arange(along.size), 0)]
    while pending:
        piece, depth = pending.pop()
        if depth == ROAD_DEPTH:
            block[piece] = num_blocks
            num_blocks += 1
        if piece.size <= cells * rng.uniform(*PARCEL_PIXELS) and depth >= 1:
            parcel[piece] = num_parcels
            num_parcels += 1
            continue
        stretch = rng.uniform(0.7, 1.4)
        longer = along if np.ptp(along[piece]) > stretch * np.ptp(across[piece]) else across
        cut = int(piece.size * rng.uniform(*SPLIT_SHARES))
        order = np.argpartition(longer[piece], cut)
        # Sorted again: argpartition promises no order within the two halves.
        pending.append((np.sort(piece[order[:cut]]), depth + 1))
        pending.append((np.sort(piece[order[cut:]]), depth + 1))
    return parcel.reshape(shape), block.reshape(shape)


def border_mask(label: npt.NDArray[np.int32], *, both_sides: bool = False) -> npt.NDArray[np.bool_]:
    """Return True on cells whose right or lower neighbour has another label.

    Args:
        label: (y, x).
        both_sides: mark the neighbour too, which doubles the width.
    """
    border = np.zeros(label.shape, dtype=np.bool_)
    beside = label[:, :-1] != label[:, 1:]
    below = label[:-1] != label[1:]
    border[:, :-1] |= beside
    border[:-1] |= below
    if both_sides:
        border[:, 1:] |= beside
        border[1:] |= below
    return border


def _warped_axes(
    rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows, columns = np.indices(shape)
    scale = 0.15 * min(shape)
    x = columns + WARP_CELLS * smooth_noise(rng, shape, scale)
    y = rows + WARP_CELLS * smooth_noise(rng, shape, scale)
    cosine, sine = np.cos(TILT_RADIANS), np.sin(TILT_RADIANS)
    return (cosine * x + sine * y).ravel(), (cosine * y - sine * x).ravel()
