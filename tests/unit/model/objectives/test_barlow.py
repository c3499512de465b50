"""Barlow Twins with the mix term against its plain form, and against the reference's numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.errors import ConfigError, TrainingError
from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.correlation import gram_is_cheaper, squared_correlations, whiten
from tessera_core.model.objectives.interface import Mixed, Projections
from tests.plain_forms import plain_barlow

LAMBDA, MU = 0.005, 0.7
NARROW, WIDE = (12, 40), (40, 12)
"""(batch, projection): each takes another of the two forms of the squared correlation."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
"""Relative; for gradients relative to the largest value of each column."""


def barlow_twins(
    first, second, *, redundancy_weight=LAMBDA, mixed=None, share=1.0, partner=None, mix_weight=0.0
):
    """The loss of projections, with a mix where one is given."""
    mix = None
    if mixed is not None:
        mix = Mixed(projection_BP=mixed, share=share, partner_B=partner)
    objective = BarlowTwins(redundancy_weight=redundancy_weight, mix_weight=mix_weight)
    projections = Projections(first_BP=first, second_BP=second, mixed=mix)
    return objective(projections, generator=torch.Generator())


def plain_loss(first, second, mixed, partner, share):
    return plain_barlow(
        first, second, mixed, partner, share=share, redundancy_weight=LAMBDA, mix_weight=MU
    )


def random_views(shape, dtype, seed=1):
    """Two related projections and a mix of them, requiring gradients, and the permutation."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn((3, *shape), generator=generator, dtype=torch.float64)
    partner = torch.randperm(shape[0], generator=generator)
    views = [3 * common + noise[0] + 2, 2 * common + noise[1] - 1, common + noise[2]]
    return [view.to(dtype).requires_grad_() for view in views], partner


def gradients_of(loss, views):
    """The gradient for each view."""
    return torch.autograd.grad(loss, views, retain_graph=True)


def with_gradients(loss, views):
    """The loss as a number, and its gradient for each view."""
    return loss.item(), gradients_of(loss, views)


def column_error(found, expected):
    """Largest difference, relative to the largest value of each column."""
    difference = (found.double() - expected.double()).abs().amax(0)
    return (difference / expected.double().abs().amax(0)).max().item()


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [NARROW, WIDE, (20, 20)])
def test_value_and_gradients_equal_the_plain_form(shape, dtype, share):
    views, partner = random_views(shape, dtype)
    doubles, _ = random_views(shape, torch.float64)

    loss = barlow_twins(
        views[0], views[1], mixed=views[2], share=share, partner=partner, mix_weight=MU
    )
    value, gradients = with_gradients(loss.total, views)

    expected, wanted = with_gradients(plain_loss(*doubles, partner, share), doubles)
    assert value == pytest.approx(expected, rel=TOLERANCE[dtype])
    errors = [column_error(*pair) for pair in zip(gradients, wanted, strict=True)]
    assert max(errors) < TOLERANCE[dtype]


@pytest.mark.parametrize("shape", [NARROW, WIDE])
def test_a_constant_column_keeps_value_and_gradients_finite(shape):
    views, partner = random_views(shape, torch.float64)
    with torch.no_grad():
        for column, view in enumerate(views):
            view[:, column] = 0

    loss = barlow_twins(
        views[0], views[1], mixed=views[2], share=0.4, partner=partner, mix_weight=MU
    )
    value, gradients = with_gradients(loss.total, views)

    expected, wanted = with_gradients(plain_loss(*views, partner, 0.4), views)
    assert value == pytest.approx(expected, rel=1e-9)
    assert gradients[0][:, 0].abs().max() > 1e5, "floored, so huge, but finite"
    errors = [column_error(*pair) for pair in zip(gradients, wanted, strict=True)]
    assert max(errors) < 1e-9


@given(
    num=st.integers(3, 12),
    width=st.integers(1, 12),
    seed=st.integers(0, 2**31),
    share=st.floats(0, 1),
)
def test_the_order_of_the_batch_does_not_matter(num, width, seed, share):
    (first, second, mixed), partner = random_views((num, width), torch.float64, seed)
    order = torch.randperm(num, generator=torch.Generator().manual_seed(seed + 1))
    place_of = torch.argsort(order)

    totals = [
        barlow_twins(one, two, mixed=three, share=share, partner=four, mix_weight=MU).total.item()
        for one, two, three, four in (
            (first, second, mixed, partner),
            (first[order], second[order], mixed[order], place_of[partner[order]]),
        )
    ]

    assert totals[0] == pytest.approx(totals[1], rel=1e-9)


@pytest.mark.parametrize(("num", "width"), [NARROW, WIDE])
def test_identical_views_keep_the_alignment_that_the_unbiased_deviation_leaves(num, width):
    (view, _, _), _ = random_views((num, width), torch.float64)

    loss = barlow_twins(view, view)

    # The diagonal tops out at (B - 1) / B, so each of P columns misses 1 by 1 / B.
    assert loss.parts["alignment"].item() == pytest.approx(
        ((num - 1) / num - 1) ** 2 * width, rel=1e-9
    )


def test_shift_and_scale_of_a_column_do_not_matter():
    (first, second, _), _ = random_views(NARROW, torch.float64)
    scale = torch.linspace(0.1, 10, NARROW[1], dtype=torch.float64)

    plain = barlow_twins(first, second).total.item()
    moved = barlow_twins(first * scale + 5, second).total.item()

    assert moved == pytest.approx(plain, rel=1e-9)


def test_a_mix_that_is_the_first_view_alone_costs_nothing():
    (first, second, _), partner = random_views(NARROW, torch.float64)

    all_first, half = (
        barlow_twins(first, second, mixed=first, share=share, partner=partner, mix_weight=MU)
        .parts["mix"]
        .item()
        for share in (1.0, 0.5)
    )

    assert all_first == pytest.approx(0, abs=1e-15)
    assert half > 0.01


def test_the_parts_add_up_to_the_total():
    views, partner = random_views(NARROW, torch.float64)

    loss = barlow_twins(
        views[0], views[1], mixed=views[2], share=0.5, partner=partner, mix_weight=MU
    )

    parts = {name: part.item() for name, part in loss.parts.items()}
    together = parts["alignment"] + LAMBDA * parts["redundancy"] + parts["mix"]
    assert loss.total.item() == pytest.approx(together, rel=1e-12)
    assert loss.parts["mix"].item() > 0


def test_without_a_mix_the_loss_is_plain_barlow_twins():
    views, partner = random_views(NARROW, torch.float64)

    without = barlow_twins(views[0], views[1])
    weightless = barlow_twins(
        views[0], views[1], mixed=views[2], share=0.5, partner=partner, mix_weight=0.0
    )

    assert without.parts["mix"].item() == 0
    assert without.total.item() == weightless.total.item()


@pytest.mark.parametrize(("name", "dtype"), [("f64", torch.float64), ("f32", torch.float32)])
@pytest.mark.parametrize("case", range(4))
def test_the_reference_gives_the_same_losses_and_gradients(shared_data, case, name, dtype):
    stored = np.load(shared_data / "parity" / "losses.npz")
    of_case, of_type = f"case{case}", f"case{case}.{name}"
    views = [torch.from_numpy(stored[f"{of_case}.{z}"]).to(dtype) for z in ("z1", "z2", "zm")]
    views = [view.requires_grad_() for view in views]
    weight = float(stored[f"{of_case}.lambda"])

    loss = barlow_twins(
        views[0],
        views[1],
        redundancy_weight=weight,
        mixed=views[2],
        share=float(stored[f"{of_case}.alpha"]),
        partner=torch.from_numpy(stored[f"{of_case}.perm"]),
        mix_weight=float(stored[f"{of_case}.mixup_lambda"]),
    )
    parts = loss.parts
    gradients = {
        "main": gradients_of(parts["alignment"] + weight * parts["redundancy"], views[:2]),
        "mix": gradients_of(parts["mix"], views),
        "sum": gradients_of(loss.total, views),
    }

    # The tolerances that the fixtures' README states.
    value_tolerance, gradient_tolerance = {"f64": (1e-10, 1e-9), "f32": (1e-5, 1e-5)}[name]
    for part, key in (("alignment", "on"), ("redundancy", "off"), ("mix", "mix")):
        wanted = stored[f"{of_type}.{key}"]
        assert parts[part].item() == pytest.approx(wanted, rel=value_tolerance)
    total = stored[f"{of_type}.total"] + stored[f"{of_type}.mix"]
    assert loss.total.item() == pytest.approx(total, rel=value_tolerance)
    for term, found in gradients.items():
        for z, gradient in zip(("z1", "z2", "zm"), found, strict=False):
            expected = torch.from_numpy(stored[f"{of_type}.grad_{term}_{z}"])
            assert column_error(gradient, expected) < gradient_tolerance, (term, z)


@pytest.mark.parametrize("shape", [(6, 9), (9, 4)])
def test_the_gradients_by_hand_are_those_of_finite_differences(shape):
    (first, second, mixed), partner = random_views(shape, torch.float64)

    def parts(one, two, three):
        loss = barlow_twins(one, two, mixed=three, share=0.4, partner=partner, mix_weight=MU)
        return tuple(loss.parts.values())

    assert torch.autograd.gradcheck(parts, (first, second, mixed))


def test_a_column_that_varies_less_than_the_floor_counts_as_constant():
    views, partner = random_views(NARROW, torch.float64)
    with torch.no_grad():
        for column, view in enumerate(views):
            view[:, column] *= 1e-12

    loss = barlow_twins(
        views[0], views[1], mixed=views[2], share=0.4, partner=partner, mix_weight=MU
    )

    value, gradients = with_gradients(loss.total, views)
    expected, wanted = with_gradients(plain_loss(*views, partner, 0.4), views)
    assert whiten(views[0])[:, 0].std() < 0.01
    assert value == pytest.approx(expected, rel=1e-9)
    assert max(column_error(*pair) for pair in zip(gradients, wanted, strict=True)) < 1e-9


@pytest.mark.parametrize("has_error", [True, False])
def test_the_form_with_fewer_operations_is_taken(has_error):
    width, share = 100, 1.5 if has_error else 0.75

    assert gram_is_cheaper(int(share * width) - 1, width, has_error=has_error)
    assert not gram_is_cheaper(int(share * width), width, has_error=has_error)


@pytest.mark.parametrize("shape", [NARROW, WIDE])
def test_both_forms_take_a_batch_without_a_mix(shape):
    (first, second, _), _ = random_views(shape, torch.float64)

    views, errors = squared_correlations(first, second, None)

    expected = (first.T @ second / len(first)).square().sum()
    assert views.item() == pytest.approx(expected.item(), rel=1e-12)
    assert errors.item() == 0
    found, wanted = (gradients_of(value, (first, second)) for value in (views, expected))
    assert max(column_error(*pair) for pair in zip(found, wanted, strict=True)) < 1e-12


def test_a_mix_term_without_a_mix_is_refused():
    (first, second, _), _ = random_views(NARROW, torch.float64)

    with pytest.raises(TrainingError, match="mix_weight above 0 needs a mix"):
        barlow_twins(first, second, mix_weight=MU)


@pytest.mark.parametrize("value", [-0.1, float("nan")])
@pytest.mark.parametrize("name", ["redundancy_weight", "mix_weight"])
def test_a_weight_below_0_is_refused(name, value):
    weights = {"redundancy_weight": 0.1, "mix_weight": 0.1, name: value}

    with pytest.raises(ConfigError, match=f"{name} is {value}, expected 0 or more"):
        BarlowTwins(**weights)


def test_the_mix_is_used_only_with_a_weight():
    assert BarlowTwins(redundancy_weight=LAMBDA, mix_weight=MU).uses_mix
    assert not BarlowTwins(redundancy_weight=LAMBDA, mix_weight=0.0).uses_mix
