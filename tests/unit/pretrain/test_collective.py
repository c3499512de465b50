"""Statistics of the whole batch: without a group nothing, in a group of one the plain form."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tessera_core.model.projector import build_projector
from tessera_core.pretrain.collective import (
    WholeBatchNorm,
    gather_batch,
    largest_of_all,
    normalise_over_ranks,
)

NUM, WIDTH = 9, 5


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    store = tmp_path / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def random_rows(seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    rows = 3 * torch.randn(NUM, WIDTH, generator=generator) + torch.arange(WIDTH)
    return rows.to(dtype)


def random_norm(kind=nn.BatchNorm1d):
    norm = kind(WIDTH, momentum=0.3)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, WIDTH))
        norm.bias.copy_(torch.linspace(-1, 1, WIDTH))
    return norm


def trained(norm, rows, weights):
    """Return output, gradients of rows, weight and bias, and statistics of a training step."""
    rows = rows.clone().requires_grad_()
    found = norm.train()(rows)
    (found.float() * weights).sum().backward()
    gradients = [rows.grad, norm.weight.grad, norm.bias.grad]
    return [found, *gradients, norm.running_mean, norm.running_var, norm.num_batches_tracked]


def test_without_a_group_gathering_gives_the_very_same_rows():
    rows = random_rows()

    assert gather_batch(rows) is rows


def test_without_a_group_the_largest_is_its_own_and_takes_no_gradient():
    value = torch.tensor(3.0, requires_grad=True)

    found = largest_of_all(value)

    assert found.item() == 3
    assert not found.requires_grad


def test_in_a_group_of_one_rows_and_gradients_pass_unchanged(group):
    rows, weights = random_rows().requires_grad_(), random_rows(2)

    whole = gather_batch(rows)
    (whole * weights).sum().backward()

    assert torch.equal(whole, rows)
    assert torch.equal(rows.grad, weights)


def test_in_a_group_of_one_the_largest_is_its_own_and_the_value_stays(group):
    value = torch.tensor(3.0)

    assert largest_of_all(value).item() == 3
    assert value.item() == 3


@pytest.mark.parametrize("num_steps", [1, 3])
def test_in_a_group_of_one_the_norm_is_torchs_forward_backward_and_in_its_statistics(
    group, num_steps
):
    plain, whole = random_norm(), random_norm(WholeBatchNorm)

    for step in range(num_steps):
        rows, weights = random_rows(step), random_rows(step + 10)
        expected, found = trained(plain, rows, weights), trained(whole, rows, weights)

    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)


def test_in_double_precision_the_norm_is_torchs_to_the_last_digits(group):
    plain, whole = random_norm().double(), random_norm(WholeBatchNorm).double()
    rows, weights = random_rows(dtype=torch.float64), random_rows(2, torch.float64)

    expected, found = trained(plain, rows, weights), trained(whole, rows, weights)

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


def test_the_gradient_of_the_norm_is_the_slope_of_its_output(group):
    norm = random_norm(WholeBatchNorm).double()
    rows = random_rows(dtype=torch.float64).requires_grad_()

    assert torch.autograd.gradcheck(norm.train(), rows)


def test_half_precision_goes_in_and_comes_out_and_statistics_stay_wide(group):
    whole, rows = random_norm(WholeBatchNorm), random_rows(dtype=torch.bfloat16)

    found, gradient, *others = trained(whole, rows, random_rows(2))

    assert found.dtype == gradient.dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 for value in others[:4])
    expected = random_norm().train()(rows.float())
    torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0.01)


def test_in_evaluation_the_norm_is_torchs_and_needs_no_group():
    plain, whole = random_norm(), random_norm(WholeBatchNorm)

    assert torch.equal(whole.eval()(random_rows()), plain.eval()(random_rows()))


def test_every_norm_of_a_network_is_replaced_and_keeps_its_name_weights_and_statistics():
    projector = build_projector(12, 20, 3)
    for number, norm in enumerate(part for part in projector if isinstance(part, nn.BatchNorm1d)):
        nn.init.normal_(norm.weight)
        norm.running_mean.fill_(number + 1)
    network = nn.ModuleDict({"head": projector, "norm": nn.BatchNorm1d(3, momentum=0.7, eps=0.1)})
    before = copy.deepcopy(network.state_dict())

    normalise_over_ranks(network)

    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm1d)]
    assert len(norms) == 3
    assert all(isinstance(norm, WholeBatchNorm) for norm in norms)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert (network["norm"].momentum, network["norm"].eps) == (0.7, 0.1)


def test_a_replaced_norm_stays_where_the_network_is():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to("meta", torch.float64)

    normalise_over_ranks(network)

    assert {value.device.type for value in network.state_dict().values()} == {"meta"}
    assert network[1].weight.dtype == network[1].running_mean.dtype == torch.float64
