"""Arithmetic of a step, against what torch counts in real networks."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tessera_core.model.encoder import Encoder
from tessera_core.model.projector import build_projector
from tessera_core.model.shape import Fusion, Pooling, Reducer, SensorShape
from tessera_core.pretrain.flops import encoder_flops, measure_peak, training_flops
from tessera_core.pretrain.task import Network
from tessera_core.testing.models import TINY_SHAPE, tiny_settings

NUM_PIXELS, LENGTH = 4, 12
SHAPE = replace(
    TINY_SHAPE,
    model_dim=48,
    s2=SensorShape(num_layers=3, num_heads=4, feedforward_dim=80),
    s1=SensorShape(num_layers=1, num_heads=2, feedforward_dim=56),
    embedding_dim=20,
    dropout=0.0,
)
"""The sensors differ, so that neither can stand in for the other."""


def view():
    days = torch.arange(LENGTH).expand(NUM_PIXELS, LENGTH)[..., None] + 1.0
    return tuple(torch.cat([torch.randn(NUM_PIXELS, LENGTH, num), days], -1) for num in (10, 2))


def counted(work):
    counter = FlopCounterMode(display=False)
    # Torch does not count its fused attention on CPUs, but the products that it stands for.
    with counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops() / NUM_PIXELS


@pytest.mark.parametrize("reducer", Reducer)
@pytest.mark.parametrize("fusion", Fusion)
@pytest.mark.parametrize("pooling", Pooling)
def test_the_forward_pass_of_every_encoder_is_counted_as_torch_counts_it(pooling, fusion, reducer):
    shape = replace(SHAPE, pooling=pooling, fusion=fusion, reducer=reducer)
    encoder, tokens = Encoder(shape), view()

    found = encoder_flops(shape, LENGTH)

    assert found == pytest.approx(counted(lambda: encoder(*tokens)), rel=0.02)


@pytest.mark.parametrize("change", [{"norm_first": True}, {"qk_norm": True}], ids=str)
def test_norms_are_not_matrix_products(change):
    shape = replace(SHAPE, **change)
    encoder, tokens = Encoder(shape), view()

    assert encoder_flops(shape, LENGTH) == encoder_flops(SHAPE, LENGTH)
    assert encoder_flops(shape, LENGTH) == pytest.approx(
        counted(lambda: encoder(*tokens)), rel=0.02
    )


@pytest.mark.parametrize("num_views", [2, 3])
@pytest.mark.parametrize("projector_layers", [1, 4])
def test_a_whole_step_is_counted_within_two_per_cent(num_views, projector_layers):
    settings = tiny_settings(
        view_lengths=(LENGTH,), embedding_dim=20, projector_dim=64,
        projector_layers=projector_layers,
    )  # fmt: skip
    network = Network(Encoder(SHAPE), build_projector(20, 64, projector_layers))
    views = [view() for _ in range(num_views)]

    def step():
        sum(answer.square().sum() for answer in network(views)).backward()

    found = training_flops(settings, SHAPE, num_views)

    assert found == pytest.approx(counted(step), rel=0.02)


def test_of_several_lengths_the_mean_counts():
    several, mean = tiny_settings(view_lengths=(4, 8, 12)), tiny_settings(view_lengths=(8,))

    assert training_flops(several, SHAPE, 2) == training_flops(mean, SHAPE, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_of_this_machine_is_a_plausible_speed(dtype):
    peak = measure_peak(torch.device("cpu"), dtype)

    assert 1e7 < peak < 1e15
