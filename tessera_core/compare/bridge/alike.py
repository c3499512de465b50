"""How alike two versions are without any map: CKA and shared neighbours.

Shapes: N d-pixels, D and E values of two embeddings.
"""

from typing import Final

import numpy as np

from tessera_core.domain.geometry import Floats, Ints, nearest, share_in_common

NUM_NEIGHBOURS: Final = 10


def linear_cka(first_ND: Floats, second_NE: Floats) -> float:
    """Return linear CKA, debiased: 1 for a rotation or scaling, about 0 for independent ones.

    With few d-pixels per dimension the plain estimate sees likeness in noise (about D / N), so the
    unbiased estimate of HSIC is used (Song et al. 2012; Nguyen et al. 2021), written as sums over
    dimensions: no N x N matrix. It may fall a little below 0. 0 where one version is constant.

    Args:
        first_ND: Embeddings of 4 d-pixels or more.
        second_NE: Of the same d-pixels, any width.
    """
    if (first_ND == first_ND[0]).all() or (second_NE == second_NE[0]).all():
        return 0.0
    first, second = first_ND - first_ND.mean(axis=0), second_NE - second_NE.mean(axis=0)
    own = _hsic(first, first) * _hsic(second, second)
    return _hsic(first, second) / float(np.sqrt(own)) if own > 0 else 0.0


def neighbour_overlap(first_ND: Floats, second_NE: Floats, group_N: Ints) -> float:
    """Return the mean share of the nearest neighbours that both versions agree on, 0..1.

    Neighbours of other groups: those of a d-pixel's own field are shared by any two versions that
    see the field at all. Chance is ``NUM_NEIGHBOURS`` / N.
    """
    num = min(NUM_NEIGHBOURS, len(group_N) - int(np.unique(group_N, return_counts=True)[1].max()))
    lists = [
        nearest(values, values, num, apart_M=group_N, apart_N=group_N)
        for values in (first_ND - first_ND.mean(axis=0), second_NE - second_NE.mean(axis=0))
    ]
    return share_in_common(lists[0], lists[1])


def _hsic(first: Floats, second: Floats) -> float:
    """Return the unbiased estimate with linear kernels whose diagonals are taken out."""
    num = len(first)
    first_own, second_own = (first**2).sum(axis=1), (second**2).sum(axis=1)
    # Row sums of the two kernels; those of centred embeddings are minus their diagonals.
    first_rows = first @ first.sum(axis=0) - first_own
    second_rows = second @ second.sum(axis=0) - second_own
    trace = ((first.T @ second) ** 2).sum() - first_own @ second_own
    sums = first_rows.sum() * second_rows.sum() / ((num - 1) * (num - 2))
    crossed = 2 * (first_rows @ second_rows) / (num - 2)
    return float(trace + sums - crossed) / (num * (num - 3))
