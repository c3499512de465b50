"""The transformer layer against torch's own, against plain formulas, and with counted keys."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from tessera_core.model.layers import TransformerLayer, _attend_by_products, _normalise

WIDTH, HEADS, INNER = 16, 4, 24
TOLERANCE = 2e-6
"""Absolute, on values of deviation about 1."""

BFLOAT16_STEP = 2**-8
"""Largest relative error of one rounding to bfloat16, twice over."""


@dataclass(frozen=True)
class Kind:
    """A form of the layer."""

    norm_first: bool
    qk_norm: bool


KINDS = [Kind(first, qk) for first in (False, True) for qk in (False, True)]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def random_layer(kind, seed=1, dropout=0.1):
    """A layer in which every weight and bias matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = TransformerLayer(
            WIDTH, HEADS, INNER, norm_first=kind.norm_first, qk_norm=kind.qk_norm, dropout=dropout
        )
        for value in layer.parameters():
            nn.init.normal_(value, std=0.4)
    return layer.eval()


def random_hidden(num=3, length=7, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, length, WIDTH, generator=generator)


def torch_layer(layer):
    """``nn.TransformerEncoderLayer`` with the same weights and no dropout."""
    twin = nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, dropout=0.0, batch_first=True, norm_first=layer.norm_first
    )
    attention = ("in_proj", "out_proj")
    twin.load_state_dict(
        {
            f"self_attn.{name}" if name.startswith(attention) else name: value
            for name, value in layer.state_dict().items()
        }
    )
    return twin


def by_formula(layer, hidden_TD):
    """The layer's answer for one d-pixel, head by head, in float64."""
    weights = {name: value.double() for name, value in layer.state_dict().items()}

    def norm(values, name):
        centred = values - values.mean(-1, keepdim=True)
        deviation = (values.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def unit(values, name):
        if layer.q_norm is None:
            return values
        root = (values.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()
        return values / root * weights[f"{name}.weight"]

    def attend(values):
        stacked = values @ weights["in_proj_weight"].T + weights["in_proj_bias"]
        query, key, value = stacked.split(WIDTH, dim=-1)
        size, heads = WIDTH // HEADS, []
        for head in range(HEADS):
            place = slice(head * size, (head + 1) * size)
            score = unit(query[:, place], "q_norm") @ unit(key[:, place], "k_norm").T
            heads.append((score / size**0.5).softmax(-1) @ value[:, place])
        return torch.cat(heads, -1) @ weights["out_proj.weight"].T + weights["out_proj.bias"]

    def feed(values):
        inner = (values @ weights["linear1.weight"].T + weights["linear1.bias"]).clamp_min(0)
        return inner @ weights["linear2.weight"].T + weights["linear2.bias"]

    hidden = hidden_TD.double()
    if layer.norm_first:
        hidden = hidden + attend(norm(hidden, "norm1"))
        return hidden + feed(norm(hidden, "norm2"))
    hidden = norm(hidden + attend(hidden), "norm1")
    return norm(hidden + feed(hidden), "norm2")


def largest(difference):
    return difference.abs().max().item()


@pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_without_qk_norm_the_layer_is_torchs_own(norm_first, training):
    layer = random_layer(Kind(norm_first, qk_norm=False), dropout=0.0).train(training)
    twin = torch_layer(layer).train(training)
    hidden = random_hidden()

    with torch.set_grad_enabled(training):
        difference = largest(layer(hidden) - twin(hidden))

    assert difference < TOLERANCE


def test_the_gradients_are_those_of_torchs_layer():
    layer = random_layer(Kind(norm_first=False, qk_norm=False), dropout=0.0).train()
    twin = torch_layer(layer).train()

    for module in (layer, twin):
        module(random_hidden()).square().sum().backward()

    expected = {name.removeprefix("self_attn."): p.grad for name, p in twin.named_parameters()}
    assert expected.keys() == dict(layer.named_parameters()).keys()
    for name, parameter in layer.named_parameters():
        scale = largest(expected[name])
        assert largest(parameter.grad - expected[name]) < 1e-5 * scale, name


@by_kind
def test_every_form_of_the_layer_follows_its_formula(kind):
    layer, hidden = random_layer(kind), random_hidden(num=1)

    with torch.no_grad():
        found = layer(hidden)[0]

    assert largest(found - by_formula(layer, hidden[0])) < TOLERANCE


def test_the_four_forms_are_four_functions():
    hidden = random_hidden()

    with torch.no_grad():
        answers = [random_layer(kind)(hidden) for kind in KINDS]

    for first in range(4):
        for second in range(first):
            assert largest(answers[first] - answers[second]) > 0.1


@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
def test_queries_and_keys_are_normalised_in_float32_whatever_they_come_in(autocast):
    # At this size bfloat16's own epsilon, 0.008, would drown the mean square.
    small = (0.01 * torch.randn(2, 4, 5, 64, generator=torch.Generator().manual_seed(3))).bfloat16()
    norm = nn.RMSNorm(64).bfloat16()
    nn.init.normal_(norm.weight, mean=1.0, std=0.3)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = _normalise(small, norm)

    wide, weight = small.float(), norm.weight.float()
    root = (wide.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, (wide / root * weight).bfloat16())
    assert 0.9 < found.float().square().mean().sqrt() < 1.2


@by_kind
def test_an_observation_that_counts_three_times_is_one_that_stands_there_three_times(kind):
    layer, hidden = random_layer(kind), random_hidden(num=2, length=4)
    counts = torch.tensor([3, 1, 2, 1])
    repeated = hidden.repeat_interleave(counts, dim=1)

    with torch.no_grad():
        found = layer(hidden, counts.float().log().expand(2, -1))
        expected = layer(repeated)
        uncounted = layer(hidden)

    first_places = counts.cumsum(0) - counts
    assert largest(found - expected[:, first_places]) < TOLERANCE
    assert largest(uncounted - expected[:, first_places]) > 0.01, "the trap is real"


@by_kind
def test_an_observation_that_counts_no_time_is_not_seen(kind):
    layer, hidden = random_layer(kind), random_hidden(num=2, length=5)
    counts = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])

    with torch.no_grad():
        found = layer(hidden, counts.log().expand(2, -1))[:, :3]
        expected = layer(hidden[:, :3])

    assert largest(found - expected) < TOLERANCE


@pytest.mark.parametrize("counted", [False, True], ids=["all once", "counted"])
def test_attention_by_products_is_the_fused_kernel_within_bfloat16_rounding(counted):
    generator = torch.Generator().manual_seed(4)
    query, key, value = torch.randn(3, 2, 4, 40, 64, generator=generator).bfloat16()
    bias = torch.arange(1, 41).log().bfloat16().expand(2, 1, 1, -1) if counted else None

    found = _attend_by_products(query, key, value, bias)

    wide = None if bias is None else bias.float()
    exact = functional.scaled_dot_product_attention(
        query.float(), key.float(), value.float(), attn_mask=wide
    )
    fused = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    assert found.dtype == torch.bfloat16
    # Scores of deviation 1 are rounded once more by products than by the fused kernel.
    assert largest(found.float() - exact) < 8 * BFLOAT16_STEP
    assert largest(fused.float() - exact) < 8 * BFLOAT16_STEP


@by_kind
def test_a_layer_in_bfloat16_stays_within_its_rounding(kind):
    layer, hidden = random_layer(kind), random_hidden()

    with torch.no_grad():
        expected = layer(hidden)
        found = layer.bfloat16()(hidden.bfloat16())

    assert found.dtype == torch.bfloat16
    relative = (found.float() - expected).norm() / expected.norm()
    assert relative < 4 * BFLOAT16_STEP


@by_kind
def test_dropout_acts_while_training_alone(kind):
    layer, hidden = random_layer(kind, dropout=0.5), random_hidden()

    with torch.no_grad():
        inference = [layer.eval()(hidden) for _ in range(2)]
        training = [layer.train()(hidden) for _ in range(2)]

    assert torch.equal(*inference)
    assert largest(training[0] - training[1]) > 0.1
