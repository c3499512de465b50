"""What every objective promises: precision, determinism, and inputs that belong together."""

import pytest
import torch

from tessera_core.errors import TrainingError
from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.interface import Mixed, Projections
from tessera_core.model.objectives.sigreg import SIGReg
from tessera_core.model.objectives.vicreg import VICReg

OBJECTIVES = [BarlowTwins(redundancy_weight=0.005, mix_weight=0.7), VICReg(), SIGReg()]
NARROW, WIDE = (12, 40), (40, 12)

each_objective = pytest.mark.parametrize(
    "objective", OBJECTIVES, ids=lambda one: type(one).__name__
)
each_form = pytest.mark.parametrize("shape", [NARROW, WIDE])


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def random_views(shape, dtype=torch.float32, device="cpu"):
    """Two views and a mix, requiring gradients; rounded to bfloat16, which every type holds."""
    views = torch.randn((3, *shape), generator=seeded(), dtype=torch.float64) + 1
    rounded = views.to(torch.bfloat16).to(device=device, dtype=dtype)
    return [view.requires_grad_() for view in rounded]


def loss_of(objective, views):
    first, second, mixed = views
    partner = torch.randperm(len(first), generator=seeded(2)).to(first.device)
    mix = Mixed(projection_BP=mixed, share=0.3, partner_B=partner)
    projections = Projections(first_BP=first, second_BP=second, mixed=mix)
    return objective(projections, generator=seeded(3))


def used(objective, views):
    """The views that the objective looks at."""
    return views if objective.uses_mix else views[:2]


@each_objective
@each_form
def test_autocast_around_it_changes_no_digit(objective, shape):
    views = random_views(shape)

    plain = loss_of(objective, views)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = loss_of(objective, views)

    assert cast.total.dtype == torch.float32
    assert cast.total.item() == plain.total.item()
    gradients = [torch.autograd.grad(one.total, used(objective, views)) for one in (plain, cast)]
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


@each_objective
@each_form
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_before_anything_is_summed(objective, shape, dtype):
    views, narrow = random_views(shape), random_views(shape, dtype)

    wide, half = loss_of(objective, views), loss_of(objective, narrow)

    assert half.total.dtype == torch.float32
    assert half.total.item() == wide.total.item()
    found = torch.autograd.grad(half.total, used(objective, narrow))
    wanted = torch.autograd.grad(wide.total, used(objective, views))
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other.to(dtype))


@each_objective
@each_form
def test_double_precision_stays_double(objective, shape):
    single = loss_of(objective, random_views(shape))
    double = loss_of(objective, random_views(shape, torch.float64))

    assert double.total.dtype == torch.float64
    assert single.total.item() == pytest.approx(double.total.item(), rel=1e-5)


@each_objective
@each_form
def test_the_same_batch_gives_the_same_bits(objective, shape):
    views = random_views(shape)

    runs = [
        torch.autograd.grad(loss_of(objective, views).total, used(objective, views))
        for _ in range(2)
    ]

    assert torch.are_deterministic_algorithms_enabled()
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


@each_objective
def test_no_part_is_negative_and_the_parts_name_what_is_logged(objective):
    loss = loss_of(objective, random_views(NARROW))

    assert len(loss.parts) >= 2
    assert all(part.ndim == 0 and part.item() >= 0 for part in loss.parts.values())


@pytest.mark.gpu
@each_objective
@each_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gpu_gives_the_same_loss_and_gradients_under_autocast_too(objective, shape, dtype):
    here, there = random_views(shape, dtype), random_views(shape, dtype, "cuda")

    expected = loss_of(objective, here)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = loss_of(objective, there)

    assert found.total.item() == pytest.approx(expected.total.item(), rel=1e-5)
    wanted = torch.autograd.grad(expected.total, used(objective, here))
    gradients = torch.autograd.grad(found.total, used(objective, there))
    for one, other in zip(gradients, wanted, strict=True):
        assert one.dtype == dtype
        difference = (one.cpu() - other).abs().amax(0) / other.abs().amax(0)
        assert difference.max().item() < 1e-4


@pytest.mark.parametrize(
    "shapes", [((4, 3), (4, 2), (4, 3)), ((4, 3), (4, 3), (5, 3)), ((4,), (4,), (4,))]
)
def test_projections_of_different_shapes_are_refused(shapes):
    first, second, mixed = (torch.zeros(shape) for shape in shapes)
    mix = Mixed(projection_BP=mixed, share=0.5, partner_B=torch.arange(len(mixed)))

    with pytest.raises(TrainingError, match=r"have shapes .*, expected one \(B, P\)"):
        Projections(first_BP=first, second_BP=second, mixed=mix)


def test_a_mix_without_a_partner_for_each_row_is_refused():
    with pytest.raises(TrainingError, match=r"\(3,\) partners for .* \(4, 2\)"):
        Mixed(projection_BP=torch.zeros(4, 2), share=0.5, partner_B=torch.arange(3))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(TrainingError, match=f"share of a mix is {share}, expected 0..1"):
        Mixed(projection_BP=torch.zeros(4, 2), share=share, partner_B=torch.arange(4))
