"""What int8 storage does to embeddings, in a form that training can see through."""

import torch
from torch import Tensor

from tessera_core.domain.embedding import CODE_MAX, V1_SCALE_FLOOR


def fake_quantise(values: Tensor, largest: Tensor | None = None) -> Tensor:
    """Return values as int8 codes would give them back; the gradient passes unchanged.

    Quantisation-aware training of v1 (method.md 5). Unlike the stored codes of ``Embedding``, all
    values share one scale, ``max(max|v| / 127, 1e-8)``, which has no gradient. One value that is
    not finite makes all NaN, so a broken batch stays visible.

    Args:
        values: Embeddings before the projector, any shape, at least one value.
        largest: Largest ``|v|``, a scalar, where ``values`` is only a part of the batch.

    Returns:
        The same shape; float32, or float64 for float64. Half precision is widened first, because
        bfloat16 cannot tell neighbouring codes apart.
    """
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    fixed = wide.detach()
    if largest is None:
        largest = fixed.abs().max()
    scale = (largest.to(wide.dtype) / CODE_MAX).clamp_min(V1_SCALE_FLOOR)
    codes = torch.round(fixed / scale).clamp(-CODE_MAX - 1, CODE_MAX)
    return wide + (codes * scale - fixed)
