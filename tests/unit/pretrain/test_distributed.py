"""One network however it is computed: micro-batches, a group of one, the same names throughout."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tessera_core.pretrain.collective import WholeBatchNorm
from tessera_core.pretrain.distributed import distribute
from tessera_core.pretrain.ranks import Ranks, alone
from tessera_core.pretrain.task import build_task
from tessera_core.testing.models import TINY_SHAPE, tiny_model, tiny_settings
from tessera_core.testing.pixels import random_pixels
from tests.unit.pretrain.made import batch_at

PIXELS = random_pixels(60, seed=45)
RESTED = replace(TINY_SHAPE, dropout=0.0)
WIDE = torch.float64
CPU = torch.device("cpu")


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    store = tmp_path / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradients(settings, shape, *, teacher=None, dtype=torch.float32, seed=7, ranks=None):
    """Return the loss of one batch and the gradient of every parameter, by name."""
    torch.manual_seed(1)
    task = build_task(settings, shape, PIXELS, teacher)
    task.network.to(dtype)
    network = distribute(task.network, settings, ranks or alone()).train()
    batch = batch_at(0, PIXELS, replace(settings, num_ranks=1))
    views = [tuple(sensor.to(dtype) for sensor in view) for view in task.views(batch)]
    torch.manual_seed(seed)
    loss = task.loss(network(views), batch, torch.Generator().manual_seed(2)).total
    loss.backward()
    return loss.item(), {
        name.removeprefix("module."): parameter.grad
        for name, parameter in network.named_parameters()
    }


def assert_alike(one, other, tolerance):
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    assert one[1].keys() == other[1].keys()
    largest = max(value.abs().max() for value in other[1].values())
    for name, value in one[1].items():
        assert (value - other[1][name]).abs().max() <= tolerance * largest, name


@pytest.mark.parametrize("size", [3, 5, 16, 31, 48, 1000])
def test_micro_batches_of_any_size_give_the_gradient_of_the_whole_batch(size):
    settings = tiny_settings()
    whole = gradients(settings, RESTED, dtype=WIDE)

    parts = gradients(replace(settings, micro_batch_size=size), RESTED, dtype=WIDE)

    assert_alike(parts, whole, 1e-9)


@pytest.mark.parametrize("shape", [RESTED, TINY_SHAPE], ids=["no dropout", "dropout"])
def test_micro_batches_work_with_layers_in_bfloat16(shape):
    settings = tiny_settings()
    with torch.autocast("cpu", torch.bfloat16):
        whole = gradients(settings, shape)
        parts = gradients(replace(settings, micro_batch_size=1000), shape)

    assert_alike(parts, whole, 1e-2)


def test_micro_batches_give_the_gradient_of_the_whole_batch_when_a_teacher_is_followed():
    settings, teacher = tiny_settings(), tiny_model(seed=5)
    whole = gradients(settings, RESTED, teacher=teacher)

    parts = gradients(replace(settings, micro_batch_size=5), RESTED, teacher=teacher)

    assert_alike(parts, whole, 1e-4)


def test_a_micro_batch_as_large_as_all_views_gives_the_same_numbers_with_dropout():
    assert TINY_SHAPE.dropout > 0
    settings = tiny_settings()
    whole = gradients(settings, TINY_SHAPE, dtype=WIDE)

    parts = gradients(replace(settings, micro_batch_size=48), TINY_SHAPE, dtype=WIDE)

    assert_alike(parts, whole, 1e-9)


def test_what_is_computed_again_draws_the_same_dropout():
    shape, size = replace(TINY_SHAPE, dropout=0.4), 7
    settings = tiny_settings(micro_batch_size=size)
    found = gradients(settings, shape, dtype=WIDE)

    # The same micro-batches, drawn in the same order, but all kept instead of computed again.
    torch.manual_seed(1)
    task = build_task(settings, shape, PIXELS, None)
    network = task.network.to(WIDE).train()
    batch = batch_at(0, PIXELS, settings)
    views = [tuple(sensor.to(WIDE) for sensor in view) for view in task.views(batch)]
    torch.manual_seed(7)
    s2, s1 = (torch.cat(sensor) for sensor in zip(*views, strict=True))
    parts = [network.encoder(*part) for part in zip(s2.split(size), s1.split(size), strict=True)]
    answers = [network.head(embedding) for embedding in torch.cat(parts).chunk(3)]
    loss = task.loss(answers, batch, torch.Generator()).total
    loss.backward()

    kept = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert_alike(found, (loss.item(), kept), 1e-9)


def test_dropout_differs_from_seed_to_seed():
    settings = tiny_settings(micro_batch_size=7)

    losses = {gradients(settings, TINY_SHAPE, seed=seed)[0] for seed in range(3)}

    assert len(losses) == 3


@pytest.mark.parametrize("taught", [False, True], ids=["self-supervised", "distilled"])
@pytest.mark.parametrize("changes", [{}, {"micro_batch_size": 7}], ids=str)
def test_one_process_trains_the_network_itself_under_the_names_it_had(changes, taught):
    settings = tiny_settings(**changes)
    teacher = tiny_model(seed=5) if taught else None
    network = build_task(settings, TINY_SHAPE, PIXELS, teacher).network
    names, weights = list(network.state_dict()), [id(one) for one in network.parameters()]

    found = distribute(network, settings, alone())

    assert found is network
    assert list(network.state_dict()) == names
    assert [id(one) for one in network.parameters()] == weights
    assert not any(isinstance(part, WholeBatchNorm) for part in network.modules())


def test_several_ranks_share_gradients_and_batch_norm_under_the_same_names(group):
    settings = tiny_settings(num_ranks=2)
    network = build_task(settings, TINY_SHAPE, PIXELS, None).network
    names, encoder = list(network.state_dict()), network.encoder

    found = distribute(network, settings, Ranks(rank=0, size=2, device=CPU))

    assert isinstance(found, DistributedDataParallel)
    assert found.module is network
    assert network.encoder is encoder
    assert list(network.state_dict()) == names
    assert sum(isinstance(part, WholeBatchNorm) for part in network.modules()) == 2


@pytest.mark.parametrize("objective", ["barlow_twins", "vicreg"])
def test_the_form_for_several_ranks_gives_the_gradient_of_one_in_a_group_of_one(group, objective):
    # The network is built for two ranks, but the group has one member: all must cancel out.
    settings = tiny_settings(objective=objective)
    whole = gradients(settings, RESTED, dtype=WIDE)

    ranks = Ranks(rank=0, size=2, device=CPU)
    found = gradients(replace(settings, num_ranks=2), RESTED, dtype=WIDE, ranks=ranks)

    assert_alike(found, whole, 1e-9)
