"""Losses as the papers write them: slow, and obviously right. What the fast forms are held to."""

import torch
from torch import Tensor

STD_FLOOR = 1e-9


def standardise(values_BP: Tensor) -> Tensor:
    """Columns of zero mean and unit unbiased deviation, floored as in method.md 4.6."""
    return (values_BP - values_BP.mean(0)) / values_BP.std(0).clamp_min(STD_FLOOR)


def plain_barlow(
    first_BP: Tensor,
    second_BP: Tensor,
    mixed_BP: Tensor,
    partner_B: Tensor,
    *,
    share: float,
    redundancy_weight: float,
    mix_weight: float,
) -> Tensor:
    """Barlow Twins with the mix term as method.md 4.6 writes it: seven P x P correlations."""

    def correlate(left: Tensor, right: Tensor) -> Tensor:
        return standardise(left).T @ standardise(right) / len(left)

    correlation = correlate(first_BP, second_BP)
    diagonal = correlation.diagonal()
    alignment = (diagonal - 1).square().sum()
    redundancy = correlation.square().sum() - diagonal.square().sum()
    distance = torch.zeros_like(alignment)
    for view in (first_BP, second_BP):
        target = share * correlate(first_BP, view)
        target = target + (1 - share) * correlate(second_BP[partner_B], view)
        distance = distance + (correlate(mixed_BP, view) - target).square().sum()
    return alignment + redundancy_weight * redundancy + mix_weight * redundancy_weight * distance
