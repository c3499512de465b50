"""How embeddings lie to each other: what diagnostics and version bridges are both made of.

Shapes: N d-pixels, D values of an embedding, K neighbours. All arithmetic is in float64 and on
the rows it is given; whoever calls draws few enough of them (``draw_rows``, ``draw_groups``).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError

Values = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PER_GROUP: Final = 8
"""Rows of one field that say most of what all of its rows say; more fields say more."""

CHUNK: Final = 512
"""Rows whose distances to all others are in memory at a time: 16 MB at 4096 rows."""


def require_rows(values_ND: Values, what: str, *, least: int) -> Floats:
    """Return embeddings as float64 after refusing those that cannot be compared.

    Args:
        values_ND: One row per d-pixel.
        what: Whose they are, for the message.
        least: Fewest rows that a result makes sense for.

    Raises:
        InputError: Not two axes, too few rows, or a value that is not finite.
    """
    if values_ND.ndim != 2 or len(values_ND) < least or values_ND.shape[1] == 0:
        raise InputError(
            f"{what} have shape {values_ND.shape}, expected (d-pixels, values) with {least} rows "
            "or more and at least one value"
        )
    broken_N = ~np.isfinite(values_ND).all(axis=1)
    if broken_N.any():
        raise InputError(
            f"{what}: {int(broken_N.sum())} of {len(values_ND)} rows are not finite, the first is "
            f"row {int(broken_N.argmax())}; leave d-pixels without data out"
        )
    return values_ND.astype(np.float64)


def draw_rows(num_rows: int, limit: int, seed: int) -> Ints:
    """Return all rows, or ``limit`` of them drawn without replacement, ascending."""
    if num_rows <= limit:
        return np.arange(num_rows)
    drawn = np.random.default_rng(seed).choice(num_rows, limit, replace=False)
    return np.sort(drawn).astype(np.int64)


def draw_groups(group_N: Ints, limit: int, seed: int) -> Ints:
    """Return at most ``limit`` rows of randomly drawn groups, ascending.

    Of each group drawn, ``PER_GROUP`` rows are taken, or an even share of ``limit`` where groups
    are few: statistics within groups have something to look at, and no group decides.

    Args:
        group_N: Group of each row.
        limit: Most rows.
        seed: Chooses groups and rows.
    """
    rng = np.random.default_rng(seed)
    ids, group = np.unique(group_N, return_inverse=True)
    per_group = max(PER_GROUP, limit // max(len(ids), 1))
    turn_of_group = rng.permutation(len(ids))
    order = np.lexsort((rng.random(len(group)), turn_of_group[group]))
    ordered = turn_of_group[group][order]
    start = np.searchsorted(ordered, np.arange(len(ids)))
    rank = np.arange(len(order)) - start[ordered]
    return np.sort(order[rank < per_group][:limit]).astype(np.int64)


def unit_rows(values_ND: Floats) -> Floats:
    """Return rows of length 1; a row of zeros stays one."""
    length_N1 = np.linalg.norm(values_ND, axis=1, keepdims=True)
    unit_ND: Floats = values_ND / np.where(length_N1 > 0, length_N1, 1)
    return unit_ND


def mean_cosine(first_ND: Floats, second_ND: Floats) -> float:
    """Return the mean cosine of the rows of one with those of the other, -1..1."""
    return float((unit_rows(first_ND) * unit_rows(second_ND)).sum(axis=1).mean())


def nearest(asked_MD: Floats, known_ND: Floats, num: int, *, apart_M: Ints, apart_N: Ints) -> Ints:
    """Return the ``num`` nearest rows by Euclidean distance, the nearest first, (M, num).

    Args:
        asked_MD: Rows to find neighbours of.
        known_ND: Rows to find them among.
        num: Neighbours of each; where fewer are allowed, the last ones are not allowed either.
        apart_M: A row never meets one of the same number: its own, or its group's.
        apart_N: The numbers of ``known_ND``.
    """
    square_N = (known_ND**2).sum(axis=1)
    found = np.empty((len(asked_MD), num), np.int64)
    for start in range(0, len(asked_MD), CHUNK):
        part = slice(start, start + CHUNK)
        # The square of the asked row itself orders nothing.
        distance = square_N - 2 * (asked_MD[part] @ known_ND.T)
        distance[apart_M[part, None] == apart_N] = np.inf
        few = np.argpartition(distance, num - 1, axis=1)[:, :num]
        order = np.argsort(np.take_along_axis(distance, few, axis=1), axis=1, kind="stable")
        found[part] = np.take_along_axis(few, order, axis=1)
    return found


def share_in_common(first_NK: Ints, second_NK: Ints) -> float:
    """Return the mean share of neighbours that two lists per row have in common, 0..1."""
    return float((first_NK[:, :, None] == second_NK[:, None, :]).any(axis=2).mean())
