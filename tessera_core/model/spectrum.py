"""How many directions an embedding really uses."""

from typing import Final

import torch
from torch import Tensor

SMALLEST: Final = 1e-7
"""Added to the sum of singular values and inside the logarithm, as the reference does."""


def rank_me(values_BE: Tensor) -> float:
    """Return the normalised RankMe of a batch, 0 (collapsed) to 1 (all directions used).

    Entropy of the singular values of the uncentred batch over the logarithm of their number
    (method.md 4.9; the original RankMe is the exponential of that entropy). NaN when a value
    is not finite. A collapsed batch may come out 1e-6 below 0, because of ``SMALLEST``.

    Args:
        values_BE: Embeddings or projections; half precision is widened to float32.
    """
    if not torch.isfinite(values_BE).all():
        return float("nan")
    wide_BE = values_BE.to(torch.promote_types(values_BE.dtype, torch.float32))
    singular = torch.linalg.svdvals(wide_BE)
    share = singular / (singular.sum() + SMALLEST)
    entropy = -(share * torch.log(share + SMALLEST)).sum()
    return float(entropy / torch.log(torch.tensor(float(len(singular)))))
