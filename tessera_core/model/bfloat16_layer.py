"""A transformer layer for training in bfloat16 on a CPU, with its gradient by hand.

It is the function of ``TransformerLayer`` normalised after and without QK norm. Autograd's version
spends half its time beside the products: masks drawn one value at a time, float32 twins of
bfloat16 tensors, casts of both kinds.

Dropout scales what it keeps by ``s = 1 / (1 - p)``. Here masks are 0 and 1, applied to the bits,
and the scales stand in the bfloat16 copies of weights and biases that every pass makes anyway.

Shapes: B d-pixels, T observations, N = B T tokens, D model width, H heads, K = D / H,
F feed-forward width.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

NUM_CODES: Final = 1 << 16
"""A mask compares 16 random bits, so its probability is a multiple of 1 / 65536."""

BFLOAT16: Final = torch.bfloat16

Gradients = tuple[Tensor | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What of a layer is no tensor."""

    num_heads: int
    """H."""

    dropout: float
    """Share of values dropped, 0..1."""

    eps: float
    """Of the LayerNorms."""

    @property
    def scale(self) -> float:
        """What dropout multiplies by what it keeps."""
        return 1 / (1 - self.dropout)


def is_bfloat16_training(module: nn.Module, values: Tensor) -> bool:
    """Return whether gradients are wanted under bfloat16 autocast on a CPU."""
    return (
        module.training
        and torch.is_grad_enabled()
        and values.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is BFLOAT16
    )


def attend(
    block: Block, hidden_BTD: Tensor, projection: Gradients, output: nn.Linear, norm: nn.LayerNorm
) -> Tensor:
    """Return ``norm(hidden + dropout(attention(hidden)))``, (B, T, D) bfloat16.

    Args:
        block: Heads, dropout and the norm's epsilon.
        hidden_BTD: Observations, any floating type.
        projection: Weight (3 D, D) and bias (3 D,) of queries, keys and values.
        output: The linear behind the heads.
        norm: The LayerNorm behind the sum.
    """
    parameters = (*projection, output.weight, output.bias, norm.weight, norm.bias)
    attended_BTD: Tensor = _Attend.apply(  # type: ignore[no-untyped-call]
        hidden_BTD.to(BFLOAT16), block, *parameters
    )
    return attended_BTD


def feed(
    block: Block, hidden_BTD: Tensor, inner: nn.Linear, outer: nn.Linear, norm: nn.LayerNorm
) -> Tensor:
    """Return ``norm(hidden + dropout(outer(dropout(relu(inner(hidden))))))``, (B, T, D)."""
    parameters = (inner.weight, inner.bias, outer.weight, outer.bias, norm.weight, norm.bias)
    fed_BTD: Tensor = _Feed.apply(hidden_BTD, block, *parameters)  # type: ignore[no-untyped-call]
    return fed_BTD


def keep_mask(num: int, dropout: float) -> Tensor:
    """Return (num,) int16: 1 with probability ``1 - dropout``, else 0, from torch's generator.

    Torch's own Bernoulli draws take ten times as long.
    """
    words = torch.empty((num + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    return words.view(torch.int16)[:num].ge_(round(dropout * NUM_CODES) - NUM_CODES // 2)


def drop(values: Tensor, dropout: float) -> Tensor | None:
    """Set a random share of contiguous bfloat16 values to zero, in place; return the mask."""
    if not dropout:
        return None
    mask = keep_mask(values.numel(), dropout)
    _mask_bits(values, mask)
    return mask


class _Attend(Function):
    """Self-attention, sum and norm."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_BTD: Tensor,
        block: Block,
        in_weight: Tensor,
        in_bias: Tensor,
        out_weight: Tensor,
        out_bias: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
    ) -> Tensor:
        num_pixels, _, width = hidden_BTD.shape
        ctx.block, ctx.num_pixels = block, num_pixels
        with torch.autocast("cpu", enabled=False):
            hidden_ND = hidden_BTD.reshape(-1, width)
            # Scores are divided by the root of K: queries come out divided.
            factor = torch.ones(3 * width)
            factor[:width] = (width // block.num_heads) ** -0.5
            in_weight = (in_weight * factor[:, None]).to(BFLOAT16)
            # Once for the attention's mask, once for the output's.
            out_weight = (out_weight * block.scale**2).to(BFLOAT16)
            stacked_N3D = torch.addmm((in_bias * factor).to(BFLOAT16), hidden_ND, in_weight.t())
            query, key, value = (
                _to_heads(part, num_pixels, block.num_heads) for part in stacked_N3D.chunk(3, dim=1)
            )
            share = torch.softmax(torch.bmm(query, key.transpose(1, 2)), dim=-1)
            kept = share.clone() if block.dropout else share
            drop(kept, block.dropout)
            mixed_ND = torch.empty_like(hidden_ND)
            _from_heads(torch.bmm(kept, value), num_pixels, mixed_ND)
            scaled_bias = (out_bias * block.scale).to(BFLOAT16)
            answer_ND, closing = _close(
                torch.addmm(scaled_bias, mixed_ND, out_weight.t()),
                hidden_ND, block, norm_weight, norm_bias,
            )  # fmt: skip
        ctx.save_for_backward(
            hidden_ND, query, key, value, share, kept, mixed_ND, in_weight, out_weight, factor,
            *closing,
        )  # fmt: skip
        return answer_ND.view(hidden_BTD.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        # Once: where activations are computed again, each may be asked for a single time.
        saved = ctx.saved_tensors
        hidden_ND, query, key, value, share, kept, mixed_ND, in_weight, out_weight, factor = saved[
            :10
        ]
        block, num_pixels = ctx.block, ctx.num_pixels
        around_ND, of_output_ND, of_norm = _open(gradients[0], block, saved[10:])
        of_mixed = _to_heads(torch.mm(of_output_ND, out_weight), num_pixels, block.num_heads)
        # With m the mask and g the gradient behind it: share * (m g) is kept * g.
        of_score = torch.bmm(of_mixed, value.transpose(1, 2)).mul_(kept)
        of_score.sub_(share * of_score.sum(-1, keepdim=True))
        of_stacked_N3D = hidden_ND.new_empty(len(hidden_ND), len(in_weight))
        for place, product in zip(
            of_stacked_N3D.chunk(3, dim=1),
            (
                torch.bmm(of_score, key),
                torch.bmm(of_score.transpose(1, 2), query),
                torch.bmm(kept.transpose(1, 2), of_mixed),
            ),
            strict=True,
        ):
            _from_heads(product, num_pixels, place)
        return (
            torch.mm(of_stacked_N3D, in_weight).add_(around_ND).view(gradients[0].shape),
            None,
            _of_weight(of_stacked_N3D, hidden_ND).mul_(factor[:, None]),
            _of_bias(of_stacked_N3D).mul_(factor),
            _of_weight(of_output_ND, mixed_ND).mul_(block.scale**2),
            _of_bias(of_output_ND).mul_(block.scale),
            *of_norm,
        )


class _Feed(Function):
    """Feed-forward, sum and norm."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_BTD: Tensor,
        block: Block,
        inner_weight: Tensor,
        inner_bias: Tensor,
        outer_weight: Tensor,
        outer_bias: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
    ) -> Tensor:
        ctx.block = block
        with torch.autocast("cpu", enabled=False):
            hidden_ND = hidden_BTD.reshape(-1, hidden_BTD.shape[-1])
            inner_weight = inner_weight.to(BFLOAT16)
            # Once for the mask inside, once for the output's.
            outer_weight = (outer_weight * block.scale**2).to(BFLOAT16)
            inner_NF = torch.addmm(inner_bias.to(BFLOAT16), hidden_ND, inner_weight.t()).relu_()
            drop(inner_NF, block.dropout)
            scaled_bias = (outer_bias * block.scale).to(BFLOAT16)
            answer_ND, closing = _close(
                torch.addmm(scaled_bias, inner_NF, outer_weight.t()),
                hidden_ND, block, norm_weight, norm_bias,
            )  # fmt: skip
        ctx.save_for_backward(hidden_ND, inner_NF, inner_weight, outer_weight, *closing)
        return answer_ND.view(hidden_BTD.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        saved, scale = ctx.saved_tensors, ctx.block.scale
        hidden_ND, inner_NF, inner_weight, outer_weight = saved[:4]
        around_ND, of_output_ND, of_norm = _open(gradients[0], ctx.block, saved[4:])
        of_inner_NF = torch.mm(of_output_ND, outer_weight)
        # What ReLU or dropout made zero passes nothing on: no second mask is kept.
        of_inner_NF = torch.ops.aten.threshold_backward(of_inner_NF, inner_NF, 0)
        return (
            torch.mm(of_inner_NF, inner_weight).add_(around_ND).view(gradients[0].shape),
            None,
            _of_weight(of_inner_NF, hidden_ND),
            _of_bias(of_inner_NF),
            _of_weight(of_output_ND, inner_NF).mul_(scale**2),
            _of_bias(of_output_ND).mul_(scale),
            *of_norm,
        )


def _close(
    output_ND: Tensor, hidden_ND: Tensor, block: Block, weight: Tensor, bias: Tensor
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Drop from the output, add what goes around it, normalise; return also what ``_open`` needs.

    The output is overwritten.
    """
    mask = drop(output_ND, block.dropout)
    total_ND = output_ND.add_(hidden_ND)
    shape = total_ND.shape[1:]
    answer_ND, mean, scale = torch.native_layer_norm(total_ND, shape, weight, bias, block.eps)
    return answer_ND, (total_ND, mask, mean, scale, weight, bias)


def _open(
    gradient_BTD: Tensor, block: Block, closing: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the gradients of what went around, of the output, and of the norm's parameters."""
    total_ND, mask, mean, scale, weight, bias = closing
    shape = total_ND.shape[1:]
    around_ND, *of_norm = torch.ops.aten.native_layer_norm_backward(
        gradient_BTD.reshape(total_ND.shape), total_ND, shape, mean, scale, weight, bias,
        [True, True, True],
    )  # fmt: skip
    if not block.dropout:
        return around_ND, around_ND, of_norm
    of_output_ND = around_ND.clone()
    _mask_bits(of_output_ND, mask)
    return around_ND, of_output_ND, of_norm


def _mask_bits(values: Tensor, mask: Tensor) -> None:
    values.view(torch.int16).mul_(mask.view(values.shape))


def _of_weight(of_output: Tensor, of_input: Tensor) -> Tensor:
    return torch.mm(of_output.t(), of_input).float()


def _of_bias(of_output: Tensor) -> Tensor:
    return of_output.sum(0).float()


def _to_heads(values_ND: Tensor, num_pixels: int, num_heads: int) -> Tensor:
    """Return (B H, T, K), contiguous: batched products of strided bfloat16 are slow."""
    parts_BTHK = values_ND.unflatten(0, (num_pixels, -1)).unflatten(2, (num_heads, -1))
    heads: Tensor = parts_BTHK.transpose(1, 2).flatten(0, 1)
    return heads


def _from_heads(values: Tensor, num_pixels: int, out_ND: Tensor) -> None:
    """Write (B H, T, K) as (N, D)."""
    parts_BHTK = values.unflatten(0, (num_pixels, -1))
    num_heads = parts_BHTK.shape[1]
    place_BTHK = out_ND.unflatten(0, (num_pixels, -1)).unflatten(2, (num_heads, -1))
    place_BTHK.copy_(parts_BHTK.transpose(1, 2))
