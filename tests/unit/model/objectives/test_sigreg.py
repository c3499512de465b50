"""SIGReg: what the statistic says of a batch, and where its gradient pushes."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from tessera_core.model.objectives.interface import Projections
from tessera_core.model.objectives.sigreg import NUM_SLICES, SIGReg, draw_directions, epps_pulley

NUM, WIDTH = 512, 24

NORMAL_VALUE = math.sqrt(2 * math.pi) - math.sqrt(2 * math.pi / 3)
"""Expected statistic of a standard normal batch: the integral of ``(1 - |cf|^2) exp(-t^2 / 2)``."""


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def loss_of(first, second=None, seed=1):
    projections = Projections(first_BP=first, second_BP=first if second is None else second)
    return SIGReg()(projections, generator=seeded(seed))


def normal(*shape, seed=2):
    return torch.randn(shape, generator=seeded(seed))


def bimodal(num, width):
    """Two tight clusters whose mean is 0 and whose covariance is that of a normal batch."""
    side = torch.sign(normal(num, width))
    return side * math.sqrt(0.99) + normal(num, width, seed=3) * 0.1


def test_the_statistic_of_a_normal_batch_is_near_its_expected_value():
    # Directions of one batch share its chance, so several batches are averaged.
    through_directions = [
        loss_of(normal(NUM, WIDTH, seed=seed)).parts["gaussian"].item() for seed in range(10, 30)
    ]

    assert epps_pulley(normal(NUM, 400)).item() == pytest.approx(NORMAL_VALUE, rel=0.15)
    assert np.mean(through_directions) == pytest.approx(NORMAL_VALUE, rel=0.15)


def test_the_statistic_is_the_integral_that_epps_and_pulley_define():
    values = normal(20, 1).double()[:, 0].numpy() * 0.8 + 0.3

    def integrand(t):
        difference = np.exp(1j * t * values).mean() - math.exp(-(t**2) / 2)
        return abs(difference) ** 2 * math.exp(-(t**2) / 2)

    expected = len(values) * quad(integrand, -5, 5)[0]
    found = epps_pulley(torch.from_numpy(values[:, None])).item()
    # Of the trapezoidal rule with 17 knots.
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("at", [0.0, 3.0])
def test_a_collapsed_batch_is_far_from_normal_in_proportion_to_its_size(at):
    few, many = (epps_pulley(torch.full((num, 5), at)).item() for num in (NUM, 2 * NUM))

    assert few > 100 * NORMAL_VALUE
    assert many == pytest.approx(2 * few, rel=1e-5)


def test_a_bimodal_batch_is_far_from_normal_though_its_moments_agree():
    values = bimodal(NUM, 50)

    assert values.mean().abs() < 0.05
    assert values.std().item() == pytest.approx(1, abs=0.05)
    assert epps_pulley(values).item() > 10 * NORMAL_VALUE


def test_a_batch_on_two_points_is_found_through_the_random_directions():
    collapsed = torch.sign(normal(NUM, 1)).expand(NUM, WIDTH)

    found = loss_of(collapsed).parts["gaussian"].item()

    assert found > 10 * loss_of(normal(NUM, WIDTH)).parts["gaussian"].item()


def test_an_equal_generator_state_gives_an_equal_loss_whatever_the_global_seed():
    view = normal(32, WIDTH)

    torch.manual_seed(1)
    first = loss_of(view, seed=5).total.item()
    state = torch.get_rng_state()
    again = loss_of(view, seed=5).total.item()

    assert first == again
    assert torch.equal(torch.get_rng_state(), state), "the global generator stays as it was"
    assert loss_of(view, seed=6).total.item() != first


def test_the_directions_are_unit_vectors_on_all_sides():
    directions = draw_directions(normal(2, 6), seeded())

    assert directions.shape == (6, NUM_SLICES)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(NUM_SLICES))
    assert directions.mean(1).abs().max() < 0.05
    torch.testing.assert_close(
        directions @ directions.T / NUM_SLICES, torch.eye(6) / 6, atol=0.03, rtol=0
    )


@pytest.mark.parametrize("scale", [1e-3, 0.1])
def test_the_gradient_pushes_a_collapsed_batch_apart(scale):
    collapsed = (normal(64, WIDTH) * scale).requires_grad_()

    loss_of(collapsed).total.backward()

    moved = collapsed - collapsed.grad
    assert (moved.std(0) > 1.001 * collapsed.std(0)).all(), "in every column"


def test_descending_the_loss_spreads_a_collapsed_batch_over_all_directions():
    batch = (normal(64, 6) * 0.01).requires_grad_()
    optimizer = torch.optim.Adam([batch], lr=0.05)

    for step in range(150):
        optimizer.zero_grad()
        loss_of(batch, seed=step).total.backward()
        optimizer.step()

    spectrum = torch.linalg.eigvalsh(torch.cov(batch.detach().T))
    assert spectrum.min() > 0.5
    assert spectrum.max() < 2


def test_equal_views_leave_the_gaussian_part_alone():
    view = normal(32, WIDTH)

    loss = loss_of(view)

    assert loss.parts["invariance"].item() == 0
    assert loss.total.item() == pytest.approx(0.05 * loss.parts["gaussian"].item(), rel=1e-6)


def test_unlike_views_cost_the_mean_squared_distance_from_their_centre():
    first, second = normal(32, WIDTH), normal(32, WIDTH, seed=4)

    loss = loss_of(first, second)

    centre = (first + second) / 2
    expected = torch.stack([first - centre, second - centre]).square().mean().item()
    parts = {name: part.item() for name, part in loss.parts.items()}
    assert parts["invariance"] == pytest.approx(expected, rel=1e-5)
    total = 0.95 * parts["invariance"] + 0.05 * parts["gaussian"]
    assert loss.total.item() == pytest.approx(total, rel=1e-6)


def test_both_views_count_alike():
    first, second = normal(32, WIDTH), 2 * normal(32, WIDTH, seed=4)

    one, other = loss_of(first, second), loss_of(second, first)

    assert one.total.item() == pytest.approx(other.total.item(), rel=1e-6)


def test_it_uses_no_mix():
    assert not SIGReg().uses_mix
