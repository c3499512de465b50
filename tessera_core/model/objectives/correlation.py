"""Whitening and squared cross-correlations, exact, with gradients by hand.

Shapes: B d-pixels, P projection width.

Autograd would find the same gradients, with twice the products for each Gram matrix (it does not
see the symmetry), a slow standard deviation and many more passes over memory.
"""

from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

STD_FLOOR: Final = 1e-9
"""method.md 4.6. Below it a column counts as constant, and its gradient is merely scaled."""


def whiten(projection_BP: Tensor) -> Tensor:
    """Return columns of zero mean and unit (unbiased) deviation, floored at 1e-9.

    The unbiased deviation with a division by B caps a perfect diagonal at (B - 1) / B; the
    reference does so too (method.md 4.6).
    """
    white_BP: Tensor = _Whiten.apply(projection_BP)  # type: ignore[no-untyped-call]
    return white_BP


def shuffle(values_BP: Tensor, order_B: Tensor) -> Tensor:
    """Return the rows in another order, which must be a permutation."""
    shuffled_BP: Tensor = _Shuffle.apply(values_BP, order_B)  # type: ignore[no-untyped-call]
    return shuffled_BP


def squared_correlations(
    first_BP: Tensor, second_BP: Tensor, error_BP: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return ``|C(first, second)|^2`` and ``|C(error, first)|^2 + |C(error, second)|^2``.

    ``C(a, b) = a.T b / B``, and ``|.|`` is the Frobenius norm. Without an error the second value
    is zero.
    """
    num, width = first_BP.shape
    if gram_is_cheaper(num, width, has_error=error_BP is not None):
        views, errors = _GramProducts.apply(  # type: ignore[no-untyped-call]
            first_BP, second_BP, error_BP
        )
        return views / num**2, errors / num**2
    views = (first_BP.T @ second_BP / num).square().sum()
    if error_BP is None:
        return views, torch.zeros_like(views)
    with_first, with_second = error_BP.T @ first_BP / num, error_BP.T @ second_BP / num
    return views, with_first.square().sum() + with_second.square().sum()


def gram_is_cheaper(num: int, width: int, *, has_error: bool) -> bool:
    """Return whether B x B matrices take fewer operations than P x P ones, gradients included.

    A product costs 2 B^2 P operations by Gram matrices, 2 B P^2 by correlations. With an error
    there are 3 Gram matrices and 3 products in their gradient, against 3 correlations and 6; so
    Gram wins up to B = 1.5 P. Without one it is 2 + 2 against 1 + 2: up to B = 0.75 P.
    """
    num_gram, num_correlation = (6, 9) if has_error else (4, 3)
    return num_gram * num < num_correlation * width


class _Whiten(Function):
    """``w = (z - mean) / std``, whose Jacobian is symmetric and written in w."""

    @staticmethod
    def forward(ctx: Any, projection_BP: Tensor) -> Tensor:
        centred_BP = projection_BP - projection_BP.mean(0)
        # Torch's own deviation of columns does not vectorise: it costs more than all of this.
        std_P = (centred_BP.square().sum(0) / (len(centred_BP) - 1)).sqrt()
        scale_P = std_P.clamp_min(STD_FLOOR).reciprocal()
        white_BP = centred_BP.mul_(scale_P)
        ctx.save_for_backward(white_BP, scale_P, std_P < STD_FLOOR)
        return white_BP

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        white_BP, scale_P, floored_P = ctx.saved_tensors
        gradient_BP = gradients[0] - gradients[0].mean(0)
        # A floored deviation is a constant, so the column's own direction is not taken out.
        own_P = (gradient_BP * white_BP).sum(0) / (1 - len(white_BP))
        gradient_BP.addcmul_(white_BP, own_P.masked_fill(floored_P, 0))
        return gradient_BP.mul_(scale_P)


class _Shuffle(Function):
    """A permutation of rows. Its gradient is the inverse one, which gathers.

    Autograd would scatter: slower by far, and not deterministic on a GPU.
    """

    @staticmethod
    def forward(ctx: Any, values_BP: Tensor, order_B: Tensor) -> Tensor:
        ctx.save_for_backward(order_B)
        return values_BP.index_select(0, order_B)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (order_B,) = ctx.saved_tensors
        return gradients[0].index_select(0, order_B.argsort()), None


class _GramProducts(Function):
    """``|A.T B|^2 = <A A.T, B B.T>`` of the views, and of an error with both."""

    @staticmethod
    def forward(
        ctx: Any, first_BP: Tensor, second_BP: Tensor, error_BP: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        first_BB, second_BB = first_BP @ first_BP.T, second_BP @ second_BP.T
        error_BB = None if error_BP is None else error_BP @ error_BP.T
        ctx.save_for_backward(first_BP, second_BP, error_BP, first_BB, second_BB, error_BB)
        views = (first_BB * second_BB).sum()
        if error_BB is None:
            return views, torch.zeros_like(views)
        return views, (error_BB * (first_BB + second_BB)).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        of_views, of_errors = (2 * gradient for gradient in gradients)
        first_BP, second_BP, error_BP, first_BB, second_BB, error_BB = ctx.saved_tensors
        if error_BB is None:
            return of_views * second_BB @ first_BP, of_views * first_BB @ second_BP, None
        shared_BB = of_errors * error_BB
        return (
            (shared_BB + of_views * second_BB) @ first_BP,
            (shared_BB + of_views * first_BB) @ second_BP,
            of_errors * (first_BB + second_BB) @ error_BP,
        )
