"""Transformer layer and day encoding, for every member of the encoder family.

Shapes: B d-pixels, T observations, D model width, H heads.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera_core.model.bfloat16_layer import Block, attend, feed, is_bfloat16_training

PERIOD_BASE: Final = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repeats:
    """How a sequence of L places is made of U distinct observations."""

    log_count_BU: Tensor
    """Logarithm of how often each counts; minus infinity where there is only padding."""

    place_BL: Tensor
    """Which of the U stands at each place of the sequence."""


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward with ReLU, normalised before or after each of them.

    Without ``qk_norm`` and ``norm_first`` it is the function of ``nn.TransformerEncoderLayer``;
    queries, keys and values share one matrix, in that order.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        feedforward_dim: int,
        *,
        norm_first: bool,
        qk_norm: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_first = norm_first
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        # Drawn as nn.MultiheadAttention draws them and in its order: equal seeds, equal weights.
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)
        self.linear1 = nn.Linear(width, feedforward_dim)
        self.linear2 = nn.Linear(feedforward_dim, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        # No eps given: the reference takes float32's, 1.19e-7.
        self.q_norm = nn.RMSNorm(width // num_heads) if qk_norm else None
        self.k_norm = nn.RMSNorm(width // num_heads) if qk_norm else None

    def forward(self, hidden_BTD: Tensor, log_count_BT: Tensor | None = None) -> Tensor:
        """Return (B, T, D).

        Args:
            hidden_BTD: Observations.
            log_count_BT: How much each weighs as a key, or None where all count once.
        """
        if log_count_BT is None and self._is_plain and is_bfloat16_training(self, hidden_BTD):
            return self._train(hidden_BTD)
        if self.norm_first:
            hidden_BTD = hidden_BTD + self._attend(self.norm1(hidden_BTD), log_count_BT)
            return hidden_BTD + self._feed(self.norm2(hidden_BTD))
        hidden_BTD = self.norm1(hidden_BTD + self._attend(hidden_BTD, log_count_BT))
        normalised_BTD: Tensor = self.norm2(hidden_BTD + self._feed(hidden_BTD))
        return normalised_BTD

    @property
    def _is_plain(self) -> bool:
        return not self.norm_first and self.q_norm is None

    def _train(self, hidden_BTD: Tensor) -> Tensor:
        """Return what ``forward`` does, in bfloat16 and with gradients that are fast on a CPU."""
        block = Block(num_heads=self.num_heads, dropout=self.dropout, eps=self.norm1.eps)
        projection = (self.in_proj_weight, self.in_proj_bias)
        hidden_BTD = attend(block, hidden_BTD, projection, self.out_proj, self.norm1)
        return feed(block, hidden_BTD, self.linear1, self.linear2, self.norm2)

    def _attend(self, hidden_BTD: Tensor, log_count_BT: Tensor | None) -> Tensor:
        stacked = functional.linear(hidden_BTD, self.in_proj_weight, self.in_proj_bias)
        shape = (*hidden_BTD.shape[:2], 3, self.num_heads, -1)
        query, key, value = stacked.view(shape).permute(2, 0, 3, 1, 4)
        if self.q_norm is not None and self.k_norm is not None:
            query, key = _normalise(query, self.q_norm), _normalise(key, self.k_norm)
        dropout = self.dropout if self.training else 0.0
        bias = None if log_count_BT is None else log_count_BT[:, None, None].to(query.dtype)
        if query.dtype is torch.bfloat16 and query.device.type == "cpu" and not dropout:
            mixed_BHTK = _attend_by_products(query, key, value, bias)
        else:
            mixed_BHTK = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=bias, dropout_p=dropout
            )
        mixed_BTD = self.out_proj(mixed_BHTK.transpose(1, 2).flatten(2))
        return self._drop(mixed_BTD)

    def _feed(self, hidden_BTD: Tensor) -> Tensor:
        inner_BTF = self._drop(functional.relu(self.linear1(hidden_BTD), inplace=True))
        return self._drop(self.linear2(inner_BTF))

    def _drop(self, values: Tensor) -> Tensor:
        # A call that does nothing still costs a pass through autograd.
        return (
            functional.dropout(values, self.dropout) if self.training and self.dropout else values
        )


def encode_days(day_BT: Tensor, width: int) -> Tensor:
    """Return sine and cosine of the raw day of year, interleaved, (B, T, D) (method.md 4.1).

    Always float32: bfloat16 cannot tell day 257 from 256.
    """
    if day_BT.device.type == "cpu" and not torch.is_grad_enabled():
        # A batch has a hundred different days at most, and thousands of observations.
        days, place = day_BT.unique(return_inverse=True)
        return _encode(days, width)[place]
    return _encode(day_BT, width)


def _encode(day_BT: Tensor, width: int) -> Tensor:
    with torch.autocast(day_BT.device.type, enabled=False):
        steps_D = torch.arange(0, width, 2, dtype=torch.float32, device=day_BT.device) / width
        angle_BTD = day_BT.float()[..., None] * PERIOD_BASE**-steps_D
        return torch.stack([angle_BTD.sin(), angle_BTD.cos()], dim=-1).flatten(-2)


def _attend_by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Return attention (B, H, T, K) by two batched products.

    Torch's fused kernel for CPUs takes about twice as long in bfloat16 at 40 to 104 observations.
    """
    num_pixels, num_heads, num_times, size = query.shape
    # Contiguous: batched products of strided bfloat16 leave the fast kernels.
    query, key, value = (part.reshape(-1, num_times, size) for part in (query, key, value))
    added = query.new_zeros(1) if bias is None else bias.expand(-1, num_heads, -1, -1).flatten(0, 1)
    score = torch.baddbmm(added, query, key.transpose(1, 2), alpha=size**-0.5)
    mixed = torch.bmm(torch.softmax(score, dim=-1), value)
    return mixed.view(num_pixels, num_heads, num_times, size)


def _normalise(values: Tensor, norm: nn.RMSNorm) -> Tensor:
    """Return values of unit root mean square per head, computed in float32."""
    with torch.autocast(values.device.type, enabled=False):
        weight = norm.weight.float()
        scaled = functional.rms_norm(values.float(), norm.normalized_shape, weight, norm.eps)
        return scaled.to(values.dtype)
