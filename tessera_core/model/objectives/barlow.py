"""Barlow Twins with the mix term (method.md 4.6), by exact algebra.

Shapes: B d-pixels, P projection width.

With whitened projections W, ``C(a, b) = W(a).T W(b) / B``. Two facts avoid every P x P matrix
when B is small. The squared norm of ``A.T B`` is the sum of ``(A A.T) * (B B.T)``, and the mix
targets are linear in whitened features, so six correlations become two.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tessera_core.errors import ConfigError, TrainingError
from tessera_core.model.objectives.interface import Loss, Projections, full_precision

STD_FLOOR: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class BarlowTwins:
    """Pulls the cross-correlation of two projections towards the identity.

    Parts: ``alignment``, the diagonal: how unlike the two views still are; ``redundancy``, the
    rest, unweighted; ``mix``, with its weight.
    """

    redundancy_weight: float
    """Lambda, 0 or more."""

    mix_weight: float
    """Mu, 0 or more; 0 leaves the mix term out."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("redundancy_weight", "mix_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")

    @property
    def uses_mix(self) -> bool:
        """Whether there is a mix term."""
        return self.mix_weight > 0

    def __call__(self, projections: Projections, *, generator: torch.Generator) -> Loss:
        """Return the loss; nothing in it is random."""
        with full_precision(projections) as wide:
            num = len(wide.first_BP)
            first_W, second_W = whiten(wide.first_BP), whiten(wide.second_BP)
            diagonal_P = (first_W * second_W).sum(0) / num
            alignment = (diagonal_P - 1).square().sum()
            redundancy = _squared_correlation(first_W, second_W) - diagonal_P.square().sum()
            mix = torch.zeros_like(alignment)
            if self.uses_mix:
                if wide.mixed is None:
                    raise TrainingError(
                        "Barlow Twins with a mix_weight above 0 needs a mix of the views"
                    )
                share, partner_B = wide.mixed.share, wide.mixed.partner_B
                # A permuted batch has the same mean and deviation: whitening commutes with it.
                target_W = share * first_W + (1 - share) * second_W[partner_B]
                error_BP = whiten(wide.mixed.projection_BP) - target_W
                distance = _squared_correlation(error_BP, first_W) + _squared_correlation(
                    error_BP, second_W
                )
                mix = self.mix_weight * self.redundancy_weight * distance
            total = alignment + self.redundancy_weight * redundancy + mix
        return Loss(
            total=total, parts={"alignment": alignment, "redundancy": redundancy, "mix": mix}
        )


def whiten(projection_BP: Tensor) -> Tensor:
    """Return columns of zero mean and unit (unbiased) deviation, floored at 1e-9.

    The unbiased deviation with a division by B caps a perfect diagonal at (B - 1) / B; the
    reference does so too (method.md 4.6).
    """
    std_P = projection_BP.std(dim=0).clamp_min(STD_FLOOR)
    return (projection_BP - projection_BP.mean(dim=0)) / std_P


def _squared_correlation(left_BP: Tensor, right_BP: Tensor) -> Tensor:
    """Return the squared Frobenius norm of ``left.T @ right / B`` by the cheaper form."""
    num, width = left_BP.shape
    if num < width:
        return ((left_BP @ left_BP.T) * (right_BP @ right_BP.T)).sum() / num**2
    return (left_BP.T @ right_BP).square().sum() / num**2
