"""Barlow Twins with the mix term (method.md 4.6), by exact algebra.

Shapes: B d-pixels, P projection width.

With whitened projections W, ``C(a, b) = W(a).T W(b) / B``. Two facts avoid every P x P matrix
when B < P. The squared norm of ``A.T B`` is the sum of ``(A A.T) * (B B.T)``, and the mix
targets are linear in whitened features, so six correlations become two.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

STD_FLOOR: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class BarlowLoss:
    """The loss and its parts, all scalars."""

    total: Tensor
    """What is minimised."""

    alignment: Tensor
    """Diagonal part: how unlike the two views still are."""

    redundancy: Tensor
    """Off-diagonal part, unweighted."""

    mix: Tensor
    """Mix term with its weight; zero when it is left out."""


def barlow_twins(
    first_BP: Tensor,
    second_BP: Tensor,
    *,
    redundancy_weight: float,
    mixed_BP: Tensor | None = None,
    mix_share: float = 1.0,
    partner_B: Tensor | None = None,
    mix_weight: float = 0.0,
) -> BarlowLoss:
    """Pull the cross-correlation of two projections towards the identity.

    Args:
        first_BP: Projections of the first views, float32 or float64.
        second_BP: Projections of the second views of the same d-pixels.
        redundancy_weight: Lambda.
        mixed_BP: Projections of ``share * first + (1 - share) * second[partner]``, or None.
        mix_share: Alpha, 0..1.
        partner_B: Pi, the permutation that mixing used.
        mix_weight: Mu.
    """
    num = first_BP.shape[0]
    first_W, second_W = whiten(first_BP), whiten(second_BP)
    diagonal_P = (first_W * second_W).sum(0) / num
    alignment = (diagonal_P - 1).square().sum()
    redundancy = _squared_correlation(first_W, second_W) - diagonal_P.square().sum()
    mix = torch.zeros((), dtype=first_BP.dtype, device=first_BP.device)
    if mixed_BP is not None and partner_B is not None:
        # A permuted batch has the same mean and deviation: whitening commutes with it.
        target_W = mix_share * first_W + (1 - mix_share) * second_W[partner_B]
        error_BP = whiten(mixed_BP) - target_W
        distance = _squared_correlation(error_BP, first_W) + _squared_correlation(
            error_BP, second_W
        )
        mix = mix_weight * redundancy_weight * distance
    total = alignment + redundancy_weight * redundancy + mix
    return BarlowLoss(total=total, alignment=alignment, redundancy=redundancy, mix=mix)


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
