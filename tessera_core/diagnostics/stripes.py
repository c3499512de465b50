"""What acquisition coverage leaves in embeddings: the stripes along the edges of orbits."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.diagnostics.fields import field_counts, sums_by_field
from tessera_core.diagnostics.reading import Reading
from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.geometry import Floats, Ints, Values, require_rows
from tessera_core.pretrain.probe import single_blas_thread

SENSORS: Final = ("s2", "s1_ascending", "s1_descending")

RANK_TOLERANCE: Final = 1e-9
"""Deviation below which a cause, which is of order 1, counts as constant."""

NO_DIFFERENCE: Final = "no field holds d-pixels of different coverage"


def coverage_of(pixels: DPixels) -> Ints:
    """Return the usable observations of S2, S1 ascending and S1 descending, (N, 3)."""
    series = (pixels.optical, pixels.ascending, pixels.descending)
    return np.stack([part.num_valid() for part in series], axis=1)


def measure_stripes(values_ND: Values, field_N: Ints, coverage_N3: Ints) -> Reading:
    """Return how much of what differs within a field is acquisition coverage, about 0 to 1.

    Two pixels of one field that an orbit's edge divides have the same crop and another number of
    observations. The share of the variance within such fields that a linear model of coverage
    explains (presence and logarithm of the number, per sensor and orbit), adjusted for what as
    many random variables would explain: 0 or a little below is best, 1 is stripes and nothing
    else. ``against_fields`` is the same variance over that between fields, which says whether a
    classifier can see it: 0 is best, 1 is a stripe as strong as the crops. ``s2`` and ``s1`` are
    the shares of each alone.

    Only fields that coverage differs in are looked at; without any the value is None, which says
    that nothing was looked at, not that there are no stripes. Clouds come in patches too, so a
    small share of ``s2`` may be weather, and a slope across a field along an edge looks the same.

    Args:
        values_ND: Embeddings.
        field_N: Field of each.
        coverage_N3: From ``coverage_of``.
    """
    wide_ND = require_rows(values_ND, "embeddings", least=2)
    causes = _causes(coverage_N3)
    count_G, group = field_counts(field_N)
    differs_G = _differs(causes, group, len(count_G))
    if not differs_G.any():
        return Reading.missing(NO_DIFFERENCE)
    rows = np.flatnonzero(differs_G[group])
    num_fields, group = int(differs_G.sum()), field_counts(group[rows])[1]
    wide_ND, causes = wide_ND[rows], causes[rows]
    means_GD = _means(wide_ND, group, num_fields)
    within_ND = wide_ND - means_GD[group]
    total = float((within_ND**2).sum())
    # Differences of sums leave some digits where there should be nothing.
    if total <= 1e-20 * float((wide_ND**2).sum()):
        return Reading.missing("all d-pixels of a field have the same embedding")
    causes = causes - _means(causes, group, num_fields)[group]
    freedom = len(rows) - num_fields
    share = _adjusted_share(within_ND, causes, freedom)
    if share is None:
        return Reading.missing(
            f"{len(rows)} d-pixels in {num_fields} fields of different coverage are too few"
        )
    # Not by the variance of the means themselves: with one field it is 0.
    spread = float(((wide_ND - wide_ND.mean(axis=0)) ** 2).sum()) - total
    return Reading(
        value=share,
        more={
            "s2": _adjusted_share(within_ND, causes[:, :2], freedom),
            "s1": _adjusted_share(within_ND, causes[:, 2:], freedom),
            "against_fields": max(share, 0.0) * total / spread if spread > 0 else None,
            "num_fields": num_fields,
            "num_pixels": len(rows),
        },
    )


def _causes(coverage_N3: Ints) -> Floats:
    """Return two columns per sensor, (N, 6): whether it saw the d-pixel, and how often."""
    seen = (coverage_N3 > 0).astype(np.float64)
    # A tenth date adds less than a second one.
    often = np.log2(1.0 + coverage_N3)
    return np.stack([seen, often], axis=2).reshape(len(coverage_N3), -1)


def _differs(causes: Floats, group: Ints, num_fields: int) -> npt.NDArray[np.bool_]:
    """Return whether any cause differs within each field, (G,)."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(num_fields))
    low = np.minimum.reduceat(causes[order], starts, axis=0)
    high = np.maximum.reduceat(causes[order], starts, axis=0)
    differs: npt.NDArray[np.bool_] = (low != high).any(axis=1)
    return differs


def _means(values: Floats, group: Ints, num_fields: int) -> Floats:
    counts = np.bincount(group, minlength=num_fields)
    return sums_by_field(values, group, num_fields) / counts[:, None]


def _adjusted_share(within_ND: Floats, causes: Floats, freedom: int) -> float | None:
    """Return the adjusted share of variance explained; 0 without a cause, None with too few rows.

    Args:
        within_ND: Embeddings, centred by field.
        causes: Causes, centred by field.
        freedom: Rows less fields.
    """
    with single_blas_thread():
        left, singular, _ = np.linalg.svd(causes, full_matrices=False)
        left = left[:, singular > RANK_TOLERANCE * np.sqrt(len(causes))]
        explained = float(((left.T @ within_ND) ** 2).sum())
    rank = left.shape[1]
    if rank == 0:
        return 0.0
    if freedom <= rank:
        return None
    unexplained = 1 - explained / float((within_ND**2).sum())
    return float(1 - unexplained * freedom / (freedom - rank))
