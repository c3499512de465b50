"""Learning rate over a run (method.md 4.8)."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from tessera_core.pretrain.config import PretrainConfig


def learning_rate(step: int, config: "PretrainConfig") -> float:
    """Return the base rate of a step: linear warm-up from 0, a plateau at the peak, cosine to 0.

    Both shares are cut to whole steps, each by itself, as the reference does.
    """
    num_warmup = int(config.warmup_share * config.num_steps)
    if step < num_warmup:
        return config.peak_lr * step / num_warmup
    first_falling = num_warmup + int(config.plateau_share * config.num_steps)
    if step < first_falling:
        return config.peak_lr
    progress = (step - first_falling) / (config.num_steps - first_falling)
    return config.peak_lr * 0.5 * (1.0 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: "torch.optim.Optimizer", rate: float) -> None:
    """Apply a base rate to both groups, each with its own multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
