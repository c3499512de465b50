"""Barlow Twins with the mix term (method.md 4.6), by exact algebra.

Shapes: B d-pixels, P projection width.

With whitened projections W, ``C(a, b) = W(a).T W(b) / B``. Two facts avoid every P x P matrix
when B is small. The squared norm of ``A.T B`` is the sum of ``(A A.T) * (B B.T)``, and the mix
targets are linear in whitened features, so six correlations become two.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tessera_core.errors import ConfigError, TrainingError
from tessera_core.model.objectives.correlation import shuffle, squared_correlations, whiten
from tessera_core.model.objectives.interface import Loss, Mixed, Projections, full_precision


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
            first_BP, second_BP = whiten(wide.first_BP), whiten(wide.second_BP)
            error_BP = self._mix_error(first_BP, second_BP, wide.mixed)
            diagonal_P = (first_BP * second_BP).sum(0) / len(first_BP)
            alignment = (diagonal_P - 1).square().sum()
            views, errors = squared_correlations(first_BP, second_BP, error_BP)
            redundancy = views - diagonal_P.square().sum()
            mix = self.mix_weight * self.redundancy_weight * errors
            total = alignment + self.redundancy_weight * redundancy + mix
        return Loss(
            total=total, parts={"alignment": alignment, "redundancy": redundancy, "mix": mix}
        )

    def _mix_error(self, first_BP: Tensor, second_BP: Tensor, mixed: Mixed | None) -> Tensor | None:
        """Return the whitened mix less its target, where there is a mix term."""
        if not self.uses_mix:
            return None
        if mixed is None:
            raise TrainingError("Barlow Twins with a mix_weight above 0 needs a mix of the views")
        # A permuted batch has the same mean and deviation: whitening commutes with it.
        partner_BP = shuffle(second_BP, mixed.partner_B)
        error_BP = whiten(mixed.projection_BP).sub(first_BP, alpha=mixed.share)
        return error_BP.sub(partner_BP, alpha=1 - mixed.share)
