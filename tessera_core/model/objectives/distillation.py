"""Distillation: a student's prefixes each rebuild a frozen teacher's embedding (method.md 6).

Barlow Twins fixes an embedding only up to a rotation, so nothing orders its values. One linear head
per prefix, all towards the same teacher, does: what fits into 16 values must come first.

Shapes: B d-pixels, E student width, R teacher width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tessera_core.model.objectives.interface import Loss

VARIANCE_FLOOR = 1e-6
"""Keeps a batch on whose d-pixels the teacher agrees from dividing by zero."""


class MatryoshkaHeads(nn.Module):
    """One linear map per prefix onto the teacher's embedding; training throws them away."""

    def __init__(self, dims: Sequence[int], teacher_dim: int) -> None:
        super().__init__()
        self.dims = tuple(dims)
        self.heads = nn.ModuleList(nn.Linear(dim, teacher_dim) for dim in self.dims)

    def forward(self, embedding_BE: Tensor) -> list[Tensor]:
        """Return the teacher's embedding (B, R) as each prefix rebuilds it, never in half."""
        with torch.autocast(embedding_BE.device.type, enabled=False):
            wide_BE = embedding_BE.float()
            return [head(wide_BE[:, :dim]) for dim, head in zip(self.dims, self.heads, strict=True)]


def distillation_loss(rebuilt: Sequence[Tensor], target_BR: Tensor, dims: Sequence[int]) -> Loss:
    """Return the mean, over prefixes, of the share of the teacher's variance left unexplained.

    The published form and weights are not known (method.md 6); equal weights of 1 - R2 make the
    prefixes comparable whatever the teacher's scale.

    Args:
        rebuilt: The teacher's embeddings (B, R) as each prefix of the student gives them.
        target_BR: The frozen teacher's own.
        dims: Values of each prefix.
    """
    target_BR = target_BR.float()
    spread = (target_BR - target_BR.mean(dim=0)).square().mean().clamp_min(VARIANCE_FLOOR)
    unexplained = [(rebuilt_BR - target_BR).square().mean() / spread for rebuilt_BR in rebuilt]
    parts = {f"prefix_{dim}": part for dim, part in zip(dims, unexplained, strict=True)}
    return Loss(total=torch.stack(unexplained).mean(), parts=parts)
