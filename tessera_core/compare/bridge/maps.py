"""Maps from one version's embeddings into another's space, and how far off they are.

Shapes: N d-pixels, D values of the version that is mapped, E values of the one mapped to.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.geometry import Floats, Values, mean_cosine
from tessera_core.errors import InputError

RIDGES: Final = (1e-6, 1e-4, 1e-3, 1e-2)
"""Penalties of the affine map to choose from, as shares of the mean variance.

The smallest keeps constant and repeated columns from dividing by zero and costs a map that exists
0.1 % at most; the others are for few fields per dimension (19 fields of a real tile and 128
values: an error of 0.39 with the first, 0.33 with the third)."""


BLOCK: Final = 65_536
"""Rows that are mapped at a time: 64 MB in float64 at 128 values."""

ROUNDING: Final = 1e-20
"""Share of the squares below which a variance is what float64 leaves of none."""


class Form(StrEnum):
    """Which map; each one may do all that those before it may."""

    IDENTITY = "identity"
    """None: embeddings are used as they are."""

    PROCRUSTES = "procrustes"
    """A rotation with one scale and a shift: distances keep their order."""

    AFFINE = "affine"
    """Any matrix and a shift: linear heads carry over, distances do not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AffineMap:
    """``values @ matrix + shift``."""

    form: Form
    """How it was fitted."""

    matrix_DE: Floats
    """Weights."""

    shift_E: Floats
    """Added to every row."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit and values that are not finite."""
        if self.matrix_DE.ndim != 2 or self.shift_E.shape != self.matrix_DE.shape[1:]:
            raise InputError(
                f"a map has a matrix of shape {self.matrix_DE.shape} and a shift of shape "
                f"{self.shift_E.shape}; expected (D, E) and (E,)"
            )
        if not np.isfinite(self.matrix_DE).all() or not np.isfinite(self.shift_E).all():
            raise InputError("a map holds values that are not finite; fit it again")


def apply_bridge(bridge: AffineMap, values_ND: Values) -> npt.NDArray[np.float32]:
    """Return embeddings in the other version's space, (N, E); a row of NaN stays one.

    Args:
        bridge: From ``read_bridge`` or ``build_bridge``.
        values_ND: Embeddings of the version that it maps from.

    Raises:
        InputError: They have another width.
    """
    width = len(bridge.matrix_DE)
    if values_ND.ndim != 2 or values_ND.shape[1] != width:
        raise InputError(
            f"embeddings have shape {values_ND.shape}, but the bridge takes (d-pixels, {width}); "
            "map embeddings of the version that it was built from"
        )
    mapped_NE = np.full((len(values_ND), len(bridge.shift_E)), np.nan, np.float32)
    for start in range(0, len(values_ND), BLOCK):
        known = start + np.flatnonzero(np.isfinite(values_ND[start : start + BLOCK]).all(axis=1))
        mapped_NE[known] = values_ND[known] @ bridge.matrix_DE + bridge.shift_E
    return mapped_NE


def fit_map(
    form: Form, source_ND: Floats, target_NE: Floats, *, ridge: float = RIDGES[0]
) -> AffineMap:
    """Fit a map by least squares over all rows.

    Different widths are no obstacle to a rotation: the narrower version counts as padded with
    zeros, and what would land in the padding is dropped.

    Args:
        form: Which map; IDENTITY needs equal widths.
        source_ND: Embeddings to map.
        target_NE: What they should become.
        ridge: Penalty of the affine map, one of ``RIDGES``; others have none.
    """
    num, width = len(source_ND), source_ND.shape[1]
    if form is Form.IDENTITY:
        return AffineMap(form=form, matrix_DE=np.eye(width), shift_E=np.zeros(width))
    source_mean, target_mean = source_ND.mean(axis=0), target_NE.mean(axis=0)
    source, target = source_ND - source_mean, target_NE - target_mean
    crossed_DE = source.T @ target
    variance = float((source**2).sum())
    is_constant = variance <= ROUNDING * float((source_ND**2).sum())
    if form is Form.PROCRUSTES:
        left, singular, right = np.linalg.svd(crossed_DE, full_matrices=False)
        scale = 0.0 if is_constant else float(singular.sum()) / variance
        matrix_DE = scale * (left @ right)
    else:
        # A constant version is mapped to the mean: anything else would be fitted to rounding.
        penalty = float(num) if is_constant else ridge * variance / width
        matrix_DE = np.linalg.solve(source.T @ source + penalty * np.eye(width), crossed_DE)
    return AffineMap(form=form, matrix_DE=matrix_DE, shift_E=target_mean - source_mean @ matrix_DE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well mapped embeddings meet the others, on d-pixels that the map was not fitted on."""

    error: float
    """Root mean squared error over the deviation from the mean: 0 exact, 1 no better than it."""

    cosine: float
    """Mean cosine of centred embeddings, -1..1, 1 exact."""


def measure_fit(mapped_NE: Floats, target_NE: Floats, centre_NE: Floats) -> Fit:
    """Return error and cosine of mapped embeddings.

    Args:
        mapped_NE: Embeddings after the map.
        target_NE: Embeddings of the other version.
        centre_NE: The mean embedding that a map without any source would answer, by row.
    """
    spread = float(((target_NE - centre_NE) ** 2).sum())
    error = float(((mapped_NE - target_NE) ** 2).sum())
    return Fit(
        error=float(np.sqrt(error / spread)),
        cosine=mean_cosine(mapped_NE - centre_NE, target_NE - centre_NE),
    )
