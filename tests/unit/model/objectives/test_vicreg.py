"""VICReg against the paper's algorithm in numpy."""

import numpy as np
import pytest
import torch

from tessera_core.model.objectives.interface import Projections
from tessera_core.model.objectives.vicreg import VICReg


def loss_of(first, second):
    projections = Projections(first_BP=first, second_BP=second)
    return VICReg()(projections, generator=torch.Generator())


def random_pair(shape, seed=1):
    """Two related float64 projections, some columns above a deviation of 1 and some below."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    scale = np.linspace(0.05, 1, shape[1])
    return [torch.tensor((common + rng.normal(size=shape)) * scale + 3) for _ in range(2)]


def papers_parts(first, second):
    """Algorithm 1 of arXiv 2105.04906, entry by entry."""
    width = first.shape[1]
    invariance = np.mean((first - second) ** 2)
    variance = covariance = 0.0
    for view in (first, second):
        deviation = np.sqrt(np.var(view, axis=0, ddof=1) + 1e-4)
        variance += np.mean([max(0.0, 1 - value) for value in deviation])
        matrix = np.cov(view, rowvar=False)
        pairs = [(i, j) for i in range(width) for j in range(width) if i != j]
        covariance += sum(matrix[pair] ** 2 for pair in pairs) / width
    return {"invariance": invariance, "variance": variance, "covariance": covariance}


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (9, 9)])
def test_the_parts_and_their_weights_are_the_papers(shape):
    first, second = random_pair(shape)

    loss = loss_of(first, second)

    expected = papers_parts(first.numpy(), second.numpy())
    assert min(expected.values()) > 0.01
    assert {name: part.item() for name, part in loss.parts.items()} == pytest.approx(
        expected, rel=1e-10
    )
    total = 25 * expected["invariance"] + 25 * expected["variance"] + expected["covariance"]
    assert loss.total.item() == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
def test_the_gradient_is_that_of_finite_differences(shape):
    views = [view.requires_grad_() for view in random_pair(shape)]

    assert torch.autograd.gradcheck(lambda *pair: loss_of(*pair).total, views)


def test_a_collapsed_batch_costs_the_whole_deviation_and_has_a_finite_gradient():
    view = torch.full((6, 4), 3.0, requires_grad=True)

    loss = loss_of(view, view)
    loss.total.backward()

    assert loss.parts["variance"].item() == pytest.approx(2 * (1 - 0.01), rel=1e-6)
    assert loss.parts["invariance"].item() == loss.parts["covariance"].item() == 0
    assert torch.isfinite(view.grad).all()


def test_it_uses_no_mix():
    assert not VICReg().uses_mix
