"""How many directions an embedding really uses."""

import torch
from torch import Tensor


def rank_me(values_BE: Tensor) -> float:
    """Return the normalised RankMe of a batch, 0 (collapsed) to 1 (all directions used).

    Entropy of the singular values of the uncentred batch over the logarithm of their number
    (method.md 4.9; the original RankMe is the exponential of that entropy). NaN when a value
    is not finite.
    """
    if not torch.isfinite(values_BE).all():
        return float("nan")
    singular = torch.linalg.svdvals(values_BE.float())
    share = singular / singular.sum().clamp_min(1e-12)
    entropy = -(share * torch.log(share.clamp_min(1e-12))).sum()
    return float(entropy / torch.log(torch.tensor(float(len(singular)))))
