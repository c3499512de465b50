"""Training in bfloat16 on a CPU: the layer by hand is the layer by autograd, masks included."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from tessera_core.model.bfloat16_layer import keep_mask
from tessera_core.model.encoder import TRAINING_TOKENS, Encoder
from tessera_core.model.layers import TransformerLayer
from tessera_core.model.releases import student_shape

WIDTH, HEADS, INNER = 32, 4, 48
NUM, LENGTH = 6, 7

VALUE_TOLERANCE = 0.01
"""Relative to the norm: a few roundings to 8 bits."""

GRADIENT_TOLERANCE = 0.1
"""A rounding moves some values across ReLU's corner, which autograd's bfloat16 does as well."""


def training_layer(dropout, **form):
    """A layer in which every weight and bias matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        form = {"norm_first": False, "qk_norm": False, **form}
        layer = TransformerLayer(WIDTH, HEADS, INNER, dropout=dropout, **form)
        for value in layer.parameters():
            nn.init.normal_(value, std=0.1)
    return layer.train()


def random_hidden():
    return torch.randn(NUM, LENGTH, WIDTH, generator=torch.Generator().manual_seed(2))


def masks(dropout, seed):
    """What a pass drops, in the order in which it draws: 1 / (1 - p) where a value is kept."""
    shapes = {
        "shares": (NUM, HEADS, LENGTH, LENGTH),
        "attended": (NUM, LENGTH, WIDTH),
        "inner": (NUM, LENGTH, INNER),
        "fed": (NUM, LENGTH, WIDTH),
    }
    torch.manual_seed(seed)
    return {
        name: keep_mask(torch.Size(shape).numel(), dropout).view(shape) / (1 - dropout)
        for name, shape in shapes.items()
    }


def by_autograd(layer, hidden, kept):
    """The layer in float32, each dropout a product with its mask."""
    stacked = functional.linear(hidden, layer.in_proj_weight, layer.in_proj_bias)
    query, key, value = (
        part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in stacked.chunk(3, dim=-1)
    )
    score = query @ key.transpose(2, 3) / (WIDTH // HEADS) ** 0.5
    mixed = (score.softmax(-1) * kept["shares"]) @ value
    attended = layer.out_proj(mixed.transpose(1, 2).flatten(2)) * kept["attended"]
    hidden = layer.norm1(hidden + attended)
    inner = layer.linear1(hidden).relu() * kept["inner"]
    return layer.norm2(hidden + layer.linear2(inner) * kept["fed"])


def value_and_gradients(layer, function):
    """Answer of a function of hidden values, with gradients by name."""
    layer.zero_grad()
    hidden = random_hidden().requires_grad_()
    answer = function(hidden)
    weight = torch.randn(answer.shape, generator=torch.Generator().manual_seed(3))
    (answer.float() * weight).sum().backward()
    gradients = {name: value.grad.clone() for name, value in layer.named_parameters()}
    return answer.detach(), {"hidden": hidden.grad, **gradients}


def under_autocast(layer):
    def function(hidden):
        with torch.autocast("cpu", torch.bfloat16):
            return layer(hidden)

    return function


def relative(found, expected):
    return ((found.float() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5])
def test_the_layer_by_hand_is_the_layer_by_autograd_with_the_same_masks(dropout):
    layer = training_layer(dropout)
    kept = masks(dropout, seed=4)

    torch.manual_seed(4)
    found, gradients = value_and_gradients(layer, under_autocast(layer))

    expected, wanted = value_and_gradients(layer, lambda hidden: by_autograd(layer, hidden, kept))
    assert found.dtype == torch.bfloat16
    assert relative(found, expected) < VALUE_TOLERANCE
    for name, gradient in wanted.items():
        assert relative(gradients[name], gradient) < GRADIENT_TOLERANCE, name


def test_gradients_of_weights_come_in_the_type_of_the_weights():
    layer = training_layer(dropout=0.1)

    _, gradients = value_and_gradients(layer, under_autocast(layer))

    assert {value.dtype for value in gradients.values()} == {torch.float32}


@pytest.mark.parametrize("form", [{"norm_first": True}, {"qk_norm": True}], ids=str)
def test_other_forms_of_the_layer_train_under_autocast_too(form):
    layer = training_layer(dropout=0.0, **form)

    found, gradients = value_and_gradients(layer, under_autocast(layer))

    expected, wanted = value_and_gradients(layer, layer)
    assert relative(found, expected) < VALUE_TOLERANCE
    assert gradients.keys() == wanted.keys()


def test_a_seed_decides_what_is_dropped():
    layer = training_layer(dropout=0.3)

    answers = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        answers.append(value_and_gradients(layer, under_autocast(layer))[0])

    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("dropout", [0.1, 0.2, 0.5])
def test_a_mask_drops_the_share_it_is_told(dropout):
    torch.manual_seed(7)
    num = 400_001

    mask = keep_mask(num, dropout)

    deviation = (dropout * (1 - dropout) / num) ** 0.5
    assert mask.shape == (num,)
    assert set(mask.unique().tolist()) == {0, 1}
    assert abs(mask.double().mean().item() - (1 - dropout)) < 5 * deviation


def test_neighbours_in_a_mask_know_nothing_of_each_other():
    torch.manual_seed(8)

    centred = keep_mask(400_000, 0.1).double() - 0.9

    for apart in (1, 2, 3, 4, 8):
        product = (centred[apart:] * centred[:-apart]).mean().item() / (0.1 * 0.9)
        assert abs(product) < 5 / 400_000**0.5


def test_a_large_batch_goes_through_the_layers_in_parts_and_comes_out_whole():
    shape = student_shape(
        model_dim=8, num_layers=1, num_heads=2, feedforward_dim=8, embedding_dim=4, dropout=0.0
    )
    torch.manual_seed(9)
    encoder = Encoder(replace(shape, final_norm=False)).train()
    encoder.reducer.eval()
    length = 40
    num = 2 * TRAINING_TOKENS // length + 3
    s2, s1 = torch.randn(num, length, 11), torch.randn(num, length, 3)

    with torch.autocast("cpu", torch.bfloat16):
        whole = encoder(s2, s1)
        single = torch.cat([encoder(s2[[row]], s1[[row]]) for row in (0, num // 2, num - 1)])

    assert len(whole) == num
    assert relative(whole[[0, num // 2, num - 1]], single.float()) < VALUE_TOLERANCE
