"""Are two models the same within what another device may change?

Judged by what they say of the first model's own canaries, with the tolerances that a public
embedding service holds its releases to across devices: no code off by more than three levels,
99.99 % within one, scales within 1.6 %, directions within a cosine of 0.9999.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_LEVELS: Final = 3
MIN_SHARE_WITHIN_ONE: Final = 0.9999
MAX_SCALE_DRIFT: Final = 0.016
MIN_COSINE: Final = 0.9999


def judge_models(first: Path, second: Path) -> str | None:
    """Return how two model artifacts agree within the tolerances, or None where they do not.

    Args:
        first: Folder of the model that was registered; its canaries are what both are asked.
        second: Folder of the model that was trained again.

    Raises:
        ArtifactError: A folder is no model.
    """
    import torch

    from tessera_core.model.artifact import load_artifact, read_canaries
    from tessera_core.model.embed import embed_pixels

    pixels = read_canaries(first)
    cpu = torch.device("cpu")
    values = [
        embed_pixels(load_artifact(folder, cpu), pixels, batch_size=len(pixels))
        for folder in (first, second)
    ]
    return judge_embeddings(*values)


def judge_embeddings(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> str | None:
    """Return how two sets of embeddings of the same d-pixels agree, or None where they do not.

    Args:
        first: (N, D), without NaN.
        second: (N, D).
    """
    from tessera_core.domain.embedding import quantise

    if first.shape != second.shape:
        return None
    one, other = quantise(first), quantise(second)
    levels = np.abs(one.codes.astype(np.int16) - other.codes.astype(np.int16))
    drift = float(np.max(np.abs(other.scale / one.scale - 1)))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = float(np.min((first * second).sum(axis=1) / norms))
    within_one = float((levels <= 1).mean())
    is_alike = (
        levels.max() <= MAX_LEVELS
        and within_one >= MIN_SHARE_WITHIN_ONE
        and drift <= MAX_SCALE_DRIFT
        and cosine >= MIN_COSINE
    )
    if not is_alike:
        return None
    return (
        f"embeddings of {len(first)} canaries agree: {100 * (levels == 0).mean():.2f} % of codes "
        f"equal, none off by more than {levels.max()}, scales within {100 * drift:.2f} %, "
        f"cosine {cosine:.6f} or more"
    )
