"""Statistics over the whole batch when several ranks hold parts of it, with exact gradients.

Shapes: b d-pixels of this rank, B of all ranks, P projection width.

Every rank computes the same loss of the whole batch. A gradient that leaves the loss is therefore
multiplied by the number of ranks, because DDP and FSDP2 take the *mean* of the ranks' gradients
where the sum of their parts is due.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def gather_batch(own_bP: Tensor) -> Tensor:
    """Return the rows of all ranks in rank order (B, P); without a group, the rows as they are."""
    if not dist.is_initialized():
        return own_bP
    whole_BP: Tensor = _Gather.apply(own_bP)  # type: ignore[no-untyped-call]
    return whole_BP


def largest_of_all(value: Tensor) -> Tensor:
    """Return the largest value over all ranks, without a gradient."""
    largest = value.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest


def normalise_over_ranks(network: nn.Module) -> None:
    """Let every batch norm of a network see the whole batch instead of its rank's part."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d):
            whole = WholeBatchNorm(child.num_features, child.eps, child.momentum)
            # Assigned, not copied: the norm stays on the device that its network is on.
            whole.load_state_dict(child.state_dict(), assign=True)
            setattr(network, name, whole)
        else:
            normalise_over_ranks(child)


class WholeBatchNorm(nn.BatchNorm1d):
    """Batch norm over the rows of all ranks; torch's own (SyncBatchNorm) needs a GPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (b, P), normalised over the whole batch while training."""
        if not self.training:
            return super().forward(input)
        normalised_bP, mean_P, variance_P = _Normalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps
        )
        self._remember(mean_P, variance_P, len(input) * dist.get_world_size())
        result_bP: Tensor = normalised_bP
        return result_bP

    @torch.no_grad()
    def _remember(self, mean_P: Tensor, variance_P: Tensor, num: int) -> None:
        """Move the running statistics, as ``nn.BatchNorm1d`` does."""
        assert self.running_mean is not None  # noqa: S101 - narrows the type
        assert self.running_var is not None  # noqa: S101 - narrows the type
        assert self.num_batches_tracked is not None  # noqa: S101 - narrows the type
        assert self.momentum is not None  # noqa: S101 - narrows the type
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_P, self.momentum)
        self.running_var.lerp_(variance_P * (num / (num - 1)), self.momentum)


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, own_bP: Tensor) -> Tensor:
        size = dist.get_world_size()
        ctx.num_rows = len(own_bP)
        whole_BP = own_bP.new_empty((size * len(own_bP), *own_bP.shape[1:]))
        dist.all_gather_single(whole_BP, own_bP.contiguous())
        return whole_BP

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # All ranks have the same gradient of the same loss: no need to add them up.
        start = dist.get_rank() * ctx.num_rows
        return gradients[0][start : start + ctx.num_rows] * dist.get_world_size()


class _Normalise(Function):
    """``(x - mean) / std * weight + bias`` in float32, two reductions forward and one backward."""

    @staticmethod
    def forward(
        ctx: Any, own_bP: Tensor, weight_P: Tensor, bias_P: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        num = len(own_bP) * dist.get_world_size()
        wide_bP = own_bP.to(torch.promote_types(own_bP.dtype, torch.float32))
        mean_P = _sum_of_all(wide_bP.sum(0)) / num
        centred_bP = wide_bP - mean_P
        variance_P = _sum_of_all(centred_bP.square().sum(0)) / num
        scale_P = (variance_P + eps).rsqrt()
        white_bP = centred_bP.mul_(scale_P)
        ctx.save_for_backward(white_bP, scale_P, weight_P)
        ctx.num = num
        ctx.mark_non_differentiable(mean_P, variance_P)
        return torch.addcmul(bias_P, white_bP, weight_P).to(own_bP.dtype), mean_P, variance_P

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        white_bP, scale_P, weight_P = ctx.saved_tensors
        gradient_bP = gradients[0].to(white_bP.dtype)
        of_bias_P, of_weight_P = gradient_bP.sum(0), (gradient_bP * white_bP).sum(0)
        sums_2P = _sum_of_all(torch.stack([of_bias_P, of_weight_P])) / ctx.num
        own_bP = (gradient_bP - sums_2P[0] - white_bP * sums_2P[1]) * (scale_P * weight_P)
        return own_bP.to(gradients[0].dtype), of_weight_P, of_bias_P, None


def _sum_of_all(values: Tensor) -> Tensor:
    dist.all_reduce(values)
    return values
