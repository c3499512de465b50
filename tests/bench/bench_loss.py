"""The loss by exact algebra against its plain form: same value, same gradients, other speed."""

import torch

from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.interface import Mixed, Projections
from tests.bench.protocol import compare
from tests.plain_forms import plain_barlow

SHAPES = ((256, 4096), (1024, 4096))
LAMBDA, MU, ALPHA = 0.005, 1.0, 0.3
TOLERANCE = 1e-5
NUM_THREADS = 2

OBJECTIVE = BarlowTwins(redundancy_weight=LAMBDA, mix_weight=MU)


def plain(first, second, mixed, partner):
    return plain_barlow(
        first, second, mixed, partner, share=ALPHA, redundancy_weight=LAMBDA, mix_weight=MU
    )


def fast(first, second, mixed, partner):
    mix = Mixed(projection_BP=mixed, share=ALPHA, partner_B=partner)
    projections = Projections(first_BP=first, second_BP=second, mixed=mix)
    return OBJECTIVE(projections, generator=torch.default_generator).total


def main() -> None:
    """Print one line per shape."""
    torch.set_num_threads(NUM_THREADS)
    for num, width in SHAPES:
        generator = torch.Generator().manual_seed(1)
        inputs = [torch.randn(num, width, generator=generator) for _ in range(3)]
        partner = torch.randperm(num, generator=generator)

        def step(loss, inputs=inputs, partner=partner):
            leaves = [value.clone().requires_grad_() for value in inputs]
            value = loss(*leaves, partner)
            value.backward()
            return value.item(), [leaf.grad for leaf in leaves]

        (expected, wanted), (value, gradients) = step(plain), step(fast)
        assert abs(value - expected) < TOLERANCE * abs(expected), f"{value} is not {expected}"
        for one, two in zip(wanted, gradients, strict=True):
            error = ((one - two).abs().amax(0) / one.abs().amax(0)).max()
            assert error < TOLERANCE, f"gradients differ by {error:.1e} of their column"
        line = compare(
            f"loss forward and backward, B {num}, P {width}, fp32",
            lambda step=step: step(plain),
            lambda step=step: step(fast),
        )
        print(line, flush=True)


if __name__ == "__main__":
    main()
