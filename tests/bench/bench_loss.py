"""The loss by exact algebra against its plain form: same value, same gradients, other speed."""

import torch
from torch import Tensor

from tessera_core.model.barlow import barlow_twins
from tests.bench.protocol import compare

SHAPES = ((256, 4096), (1024, 4096))
LAMBDA, MU, ALPHA = 0.005, 1.0, 0.3
TOLERANCE = 1e-5


def whitened(z: Tensor) -> Tensor:
    return (z - z.mean(0)) / z.std(0).clamp_min(1e-9)


def plain_loss(first: Tensor, second: Tensor, mixed: Tensor, partner: Tensor) -> Tensor:
    """Barlow Twins with mix term as it is defined: seven correlations of width x width."""

    def correlation(left: Tensor, right: Tensor) -> Tensor:
        return whitened(left).T @ whitened(right) / len(left)

    matrix = correlation(first, second)
    on = (matrix.diagonal() - 1).square().sum()
    off = matrix.square().sum() - matrix.diagonal().square().sum()
    total = on + LAMBDA * off
    for other in (first, second):
        target = ALPHA * correlation(first, other) + (1 - ALPHA) * correlation(
            second[partner], other
        )
        total = total + MU * LAMBDA * (correlation(mixed, other) - target).square().sum()
    return total


def fast_loss(first: Tensor, second: Tensor, mixed: Tensor, partner: Tensor) -> Tensor:
    return barlow_twins(
        first, second, redundancy_weight=LAMBDA, mixed_BP=mixed, mix_share=ALPHA,
        partner_B=partner, mix_weight=MU,
    ).total  # fmt: skip


def main() -> None:
    """Print one line per shape."""
    torch.set_num_threads(2)
    for num, width in SHAPES:
        generator = torch.Generator().manual_seed(1)
        inputs = [torch.randn(num, width, generator=generator) for _ in range(3)]
        partner = torch.randperm(num, generator=generator)

        def step(loss, inputs=inputs, partner=partner):
            leaves = [value.clone().requires_grad_() for value in inputs]
            value = loss(*leaves, partner)
            value.backward()
            return [leaf.grad for leaf in leaves]

        for one, two in zip(step(plain_loss), step(fast_loss), strict=True):
            error = (one - two).abs().max() / one.abs().max()
            assert error < TOLERANCE, f"gradients differ by {error:.1e}"
        line = compare(
            f"loss forward and backward, B {num}, P {width}, fp32",
            lambda step=step: step(plain_loss),
            lambda step=step: step(fast_loss),
        )
        print(line, flush=True)


if __name__ == "__main__":
    main()
