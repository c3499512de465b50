"""SIGReg, the loss of LeJEPA (arXiv 2511.08544, algorithms 1 and 2).

Shapes: B d-pixels, P projection width, S random slices, T knots of the integral.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tessera_core.model.objectives.interface import Loss, Projections, full_precision

GAUSSIAN_WEIGHT: Final = 0.05
"""Lambda: the paper's recommendation; the views' agreement gets the rest."""

NUM_SLICES: Final = 1024
"""Random directions per step: the paper's recommendation."""

LAST_KNOT: Final = 5.0
NUM_INTERVALS: Final = 8
"""The paper integrates over -5..5 with 17 knots. The integrand is even and 0 at 0, so the 8
positive knots, counted twice, give the same sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SIGReg:
    """Pulls views together and the batch towards an isotropic standard normal distribution.

    Parts, both unweighted: ``invariance``, the mean squared distance of a view from the views'
    centre; ``gaussian``, the Epps-Pulley statistic over random directions and both views: 1.06 on
    average for a standard normal batch of any size, some 0.4 B for a batch collapsed at 0.
    """

    @property
    def uses_mix(self) -> bool:
        """Never: SIGReg knows no mix term."""
        return False

    def __call__(self, projections: Projections, *, generator: torch.Generator) -> Loss:
        """Return the loss; the directions come from the generator, one draw for both views."""
        with full_precision(projections) as wide:
            first_BP, second_BP = wide.first_BP, wide.second_BP
            # Both views lie half their difference away from their centre.
            invariance = (first_BP - second_BP).square().mean() / 4
            directions_PS = draw_directions(first_BP, generator)
            gaussian = (
                epps_pulley(first_BP @ directions_PS) + epps_pulley(second_BP @ directions_PS)
            ) / 2
            total = (1 - GAUSSIAN_WEIGHT) * invariance + GAUSSIAN_WEIGHT * gaussian
        return Loss(total=total, parts={"invariance": invariance, "gaussian": gaussian})


def draw_directions(like_BP: Tensor, generator: torch.Generator) -> Tensor:
    """Return (P, S) random unit vectors, uniform on the sphere, in the type of a projection."""
    # Drawn where the generator lives, so that one seed gives one set on every device.
    directions_PS = torch.randn(
        (like_BP.shape[1], NUM_SLICES),
        generator=generator,
        device=generator.device,
        dtype=torch.float32,
    )
    return torch.nn.functional.normalize(directions_PS, dim=0).to(like_BP)


def epps_pulley(values_BS: Tensor) -> Tensor:
    """Return the Epps-Pulley statistic against the standard normal, averaged over columns.

    B times the integral of ``|cf(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2)``, where cf is the batch's
    characteristic function, by the trapezoidal rule.
    """
    knots = [LAST_KNOT * number / NUM_INTERVALS for number in range(1, NUM_INTERVALS + 1)]
    statistic_S = torch.zeros_like(values_BS[0])
    # Knot by knot, because (B, S, T) cosines at once would be the largest tensor of the step.
    for knot in knots:
        normal = math.exp(-(knot**2) / 2)
        angle_BS = knot * values_BS
        real_S, imaginary_S = angle_BS.cos().mean(0) - normal, angle_BS.sin().mean(0)
        share = 1 if knot == LAST_KNOT else 2
        statistic_S = statistic_S + share * normal * (real_S.square() + imaginary_S.square())
    return statistic_S.mean() * len(values_BS) * LAST_KNOT / NUM_INTERVALS
