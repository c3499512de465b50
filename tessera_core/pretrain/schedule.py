"""Learning rate over a run (method.md 4.8)."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from tessera_core.pretrain.config import PretrainConfig


def learning_rate(step: int, config: "PretrainConfig") -> float:
    """Return the base rate of a step: linear warm-up from 0 to the peak, then cosine to 0."""
    warmup = int(config.warmup_share * config.num_steps)
    if step < warmup:
        return config.peak_lr * step / warmup
    progress = (step - warmup) / max(config.num_steps - warmup, 1)
    return config.peak_lr * 0.5 * (1.0 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: "torch.optim.Optimizer", rate: float) -> None:
    """Apply a base rate to both groups, each with its own multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
