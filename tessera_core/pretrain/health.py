"""Stop before a broken update reaches the weights."""

import math

from tessera_core.errors import TrainingError

MIN_RANK = 0.05
"""A representation that uses fewer directions than this has collapsed."""


def require_finite(step: int, **values: float) -> None:
    """Raise TrainingError when a value is NaN or infinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} at step {step}; the weights were not updated. "
                "Lower pretrain.peak_lr or check the norms of the shards"
            )


def require_rank(step: int, rank: float) -> None:
    """Raise TrainingError when the embeddings have collapsed to one direction or are NaN."""
    if not rank >= MIN_RANK:
        raise TrainingError(
            f"RankMe of the embeddings fell to {rank:.3f} at step {step}, expected above "
            f"{MIN_RANK}; the model has collapsed. Lower pretrain.peak_lr or raise batch_size"
        )
