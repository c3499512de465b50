"""How far fields are from each other, against the pixels of one field."""

import numpy as np

from tessera_core.diagnostics.reading import Reading
from tessera_core.domain.geometry import Floats, Ints, Values, require_rows


def measure_fields(values_ND: Values, field_N: Ints) -> Reading:
    """Return the distance between fields over the distance within one; higher is better.

    Root mean squared distance of two d-pixels of different fields, over that of two d-pixels of
    one field. 1 means that fields cannot be seen. Very high values may mean that differences
    within fields are gone. All fields with two d-pixels or more weigh alike, so large ones do not
    decide. Compare versions on the same d-pixels only: 1.4 on a real tile is 2.0 on simulated
    scenes.

    Args:
        values_ND: Embeddings.
        field_N: Field of each; with blocks in place of fields the number means little.
    """
    wide_ND = require_rows(values_ND, "embeddings", least=2)
    count_G, group = field_counts(field_N)
    kept = count_G[group] > 1
    if (count_G > 1).sum() < 2:
        return Reading.missing(
            f"{int((count_G > 1).sum())} fields have two d-pixels or more, expected two such fields"
        )
    # Distances know no origin, and small numbers keep the digits.
    wide_ND = wide_ND[kept] - wide_ND[kept].mean(axis=0)
    count_G, group = field_counts(field_N[kept])
    num_fields = len(count_G)
    mean_GD = sums_by_field(wide_ND, group, num_fields) / count_G[:, None]
    square_G = np.bincount(group, (wide_ND**2).sum(axis=1), num_fields) / count_G
    spread_G = (square_G - (mean_GD**2).sum(axis=1)) * count_G / (count_G - 1)
    within = 2 * float(spread_G.mean())
    crossed = (mean_GD.sum(axis=0) ** 2).sum() - (mean_GD**2).sum()
    between = 2 * float(square_G.mean() - crossed / (num_fields * (num_fields - 1)))
    # Differences of sums leave some digits where there should be nothing.
    if within <= 1e-12 * max(between, 1e-300):
        return Reading.missing("all d-pixels of a field have the same embedding")
    return Reading(
        value=float(np.sqrt(max(between, 0.0) / within)),
        more={
            "within": float(np.sqrt(within)),
            "between": float(np.sqrt(max(between, 0.0))),
            "num_fields": num_fields,
        },
    )


def field_counts(field_N: Ints) -> tuple[Ints, Ints]:
    """Return rows per field, (G,), and the number of each row's field, (N,)."""
    _, group, count_G = np.unique(field_N, return_inverse=True, return_counts=True)
    return count_G, group


def sums_by_field(values_ND: Floats, group_N: Ints, num_fields: int) -> Floats:
    """Return the sum of the rows of each field, (G, D)."""
    order = np.argsort(group_N, kind="stable")
    starts = np.searchsorted(group_N[order], np.arange(num_fields))
    sums: Floats = np.add.reduceat(values_ND[order], starts, axis=0)
    return sums
