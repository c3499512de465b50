"""VICReg (arXiv 2105.04906, algorithm 1).

Shapes: B d-pixels, P projection width.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tessera_core.model.objectives.interface import Loss, Projections, full_precision

INVARIANCE_WEIGHT: Final = 25.0
VARIANCE_WEIGHT: Final = 25.0
COVARIANCE_WEIGHT: Final = 1.0
"""Section 4.2 of the paper."""

TARGET_STD: Final = 1.0
VARIANCE_FLOOR: Final = 1e-4
"""Gamma and epsilon, section 4.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VICReg:
    """Pulls views together, keeps each column spread out, and the columns uncorrelated.

    Parts, all unweighted: ``invariance``, the mean squared difference of the views; ``variance``,
    how far deviations stay below 1; ``covariance``, squares off the diagonal over P. The last
    two are sums over the two views, as in the paper's algorithm 1 (the authors' program halves
    the variance).
    """

    @property
    def uses_mix(self) -> bool:
        """Never: VICReg knows no mix term."""
        return False

    def __call__(self, projections: Projections, *, generator: torch.Generator) -> Loss:
        """Return the loss; nothing in it is random."""
        with full_precision(projections) as wide:
            invariance = (wide.first_BP - wide.second_BP).square().mean()
            first, second = _regularisers(wide.first_BP), _regularisers(wide.second_BP)
            variance, covariance = first[0] + second[0], first[1] + second[1]
            total = (
                INVARIANCE_WEIGHT * invariance
                + VARIANCE_WEIGHT * variance
                + COVARIANCE_WEIGHT * covariance
            )
        return Loss(
            total=total,
            parts={"invariance": invariance, "variance": variance, "covariance": covariance},
        )


def _regularisers(view_BP: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean shortfall of deviations, and the squared covariances over P."""
    num, width = view_BP.shape
    centred_BP = view_BP - view_BP.mean(0)
    variance_P = centred_BP.square().sum(0) / (num - 1)
    shortfall = (TARGET_STD - (variance_P + VARIANCE_FLOOR).sqrt()).relu().mean()
    # A.T A and A A.T have one Frobenius norm: the smaller of the two is enough.
    products = centred_BP @ centred_BP.T if num < width else centred_BP.T @ centred_BP
    squares = (products / (num - 1)).square().sum() - variance_P.square().sum()
    return shortfall, squares / width
