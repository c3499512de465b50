"""The field's training step, written from its description (method.md 4.5, 4.6, 4.8).

Nothing is tuned, neither for speed nor against it: eager float32, torch's own layers and
optimiser, one pass per view, correlations as they stand in the formula.

Shapes: B d-pixels, K observations per view, D embedding width, P projection width.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from tests.bench.faithful.models import Encoder
from tests.plain_forms import plain_barlow

PROJECTOR_LAYERS = 6
REDUNDANCY_WEIGHT, MIX_WEIGHT = 5e-3, 1.0
BASE_RATE, MATRIX_SCALE, VECTOR_SCALE = 2e-3, 0.2, 0.0048
WEIGHT_DECAY = 1e-6
MAX_GRADIENT_NORM = 2.0

View = tuple[Tensor, Tensor]
"""S2 (B, K, 11) and S1 (B, K, 3), standardised, day of year last."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mix:
    """How the two views of a batch are mixed."""

    share: float
    """Alpha, 0..1."""

    partner_B: Tensor
    """Pi, a permutation of the batch."""

    def apply(self, first: View, second: View) -> View:
        """Return the mixed views, days included."""
        s2, s1 = (
            self.share * one + (1 - self.share) * two[self.partner_B]
            for one, two in zip(first, second, strict=True)
        )
        return s2, s1


def draw_mix(num: int, generator: torch.Generator) -> Mix:
    """Draw alpha from Beta(1, 1), which is uniform, and pi."""
    return Mix(
        share=torch.rand((), generator=generator).item(),
        partner_B=torch.randperm(num, generator=generator),
    )


def build_projector(embedding_dim: int, width: int) -> nn.Sequential:
    """Return six linears, batch norm and ReLU after all but the last; (B, D) to (B, P)."""
    layers: list[nn.Module] = []
    for number in range(PROJECTOR_LAYERS):
        layers.append(nn.Linear(width if number else embedding_dim, width))
        if number < PROJECTOR_LAYERS - 1:
            layers += [nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers)


def parameter_groups(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Return matrices and vectors, each with its learning rate at the peak of the schedule."""
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for parameter in parameters:
        groups[parameter.ndim <= 1].append(parameter)
    scales = (MATRIX_SCALE, VECTOR_SCALE)
    return [
        {"params": group, "lr": BASE_RATE * scale}
        for group, scale in zip(groups, scales, strict=True)
    ]


class Trainer:
    """Encoder, projector and optimiser."""

    def __init__(self, encoder: Encoder, projector: nn.Sequential) -> None:
        self.model = nn.ModuleDict({"encoder": encoder, "projector": projector})
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model.parameters()), weight_decay=WEIGHT_DECAY
        )

    def loss(self, first: View, second: View, mix: Mix) -> Tensor:
        """Return Barlow Twins with its mix term: three passes, seven correlations."""
        encoder, projector = self.model["encoder"], self.model["projector"]
        views = (first, second, mix.apply(first, second))
        first_BP, second_BP, mixed_BP = (projector(encoder(*view)) for view in views)
        return plain_barlow(
            first_BP, second_BP, mixed_BP, mix.partner_B, share=mix.share,
            redundancy_weight=REDUNDANCY_WEIGHT, mix_weight=MIX_WEIGHT,
        )  # fmt: skip

    def step(self, first: View, second: View, mix: Mix) -> float:
        """Take one step and return the loss before it."""
        self.optimizer.zero_grad()
        loss = self.loss(first, second, mix)
        loss.backward()
        clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        return loss.item()
