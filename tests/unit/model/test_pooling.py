"""Pooling: a weighted mean over time, whose scores come from three different functions."""

import pytest
import torch
from torch import nn

from tessera_core.model.layers import Repeats
from tessera_core.model.pooling import POOLINGS, weighted_mean
from tessera_core.model.shape import Pooling

WIDTH = 6
TOLERANCE = 2e-6
"""Absolute, on values of deviation about 1."""

by_pooling = pytest.mark.parametrize("pooling", list(Pooling))


def random_pool(pooling, seed=1):
    """A pooling in which every weight and bias matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pool = POOLINGS[pooling](WIDTH)
        for value in pool.parameters():
            nn.init.normal_(value, std=0.7)
    return pool.eval().requires_grad_(False)


def random_hidden(num=3, length=9, seed=2):
    return torch.randn(num, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def torch_gru_scores(pool, hidden_TD):
    """Scores of one d-pixel by ``nn.GRU``'s formula, step by step, in float64.

    Two biases; the reset gate acts on the recurrent product; the update gate keeps the old state.
    """
    weights = {name: value.double() for name, value in pool.state_dict().items()}
    input_bias, hidden_bias = weights["gru.bias_ih_l0"], weights["gru.bias_hh_l0"]
    state, scores = torch.zeros(WIDTH, dtype=torch.float64), []
    for step in hidden_TD.double():
        from_input = (weights["gru.weight_ih_l0"] @ step + input_bias).chunk(3)
        from_state = (weights["gru.weight_hh_l0"] @ state + hidden_bias).chunk(3)
        reset = torch.sigmoid(from_input[0] + from_state[0])
        keep = torch.sigmoid(from_input[1] + from_state[1])
        candidate = torch.tanh(from_input[2] + reset * from_state[2])
        state = keep * state + (1 - keep) * candidate
        scores.append(weights["query.weight"][0] @ state + weights["query.bias"])
    return torch.stack(scores)


def gated_gru_scores(pool, hidden_TD, *, keeps=False, resets_late=False, is_normed=True):
    """Scores of one d-pixel by the hand-written GRU's formula (method.md 4.1), in float64.

    The switches are the ways in which ``nn.GRU`` differs, one at a time.
    """
    weights = {name: value.double() for name, value in pool.state_dict().items()}
    input_r, input_z, input_n = weights["input.weight"].chunk(3)
    bias_r, bias_z, bias_n = weights["input.bias"].chunk(3)
    state_r, state_z = weights["recurrent_gates.weight"].chunk(2)
    state_n = weights["recurrent_new.weight"]
    state, scores = torch.zeros(WIDTH, dtype=torch.float64), []
    for step in hidden_TD.double():
        reset = torch.sigmoid(input_r @ step + state_r @ state + bias_r)
        update = torch.sigmoid(input_z @ step + state_z @ state + bias_z)
        recurrent = reset * (state_n @ state) if resets_late else state_n @ (reset * state)
        candidate = torch.tanh(input_n @ step + recurrent + bias_n)
        share = 1 - update if keeps else update
        state = (1 - share) * state + share * candidate
        answer = state
        if is_normed:
            deviation = (state.var(correction=0) + 1e-5).sqrt()
            answer = (state - state.mean()) / deviation
            answer = answer * weights["norm.weight"] + weights["norm.bias"]
        scores.append(weights["query.weight"][0] @ answer + weights["query.bias"])
    return torch.stack(scores)


def mean_under(scores_T1, hidden_TD):
    weight = scores_T1.exp() / scores_T1.exp().sum()
    return (weight * hidden_TD.double()).sum(0)


def largest(difference):
    return difference.abs().max().item()


def test_attention_pooling_is_a_mean_under_one_linear_score_per_observation():
    pool, hidden = random_pool(Pooling.ATTENTION), random_hidden()

    found = pool(hidden)

    for pixel, values in zip(found, hidden, strict=True):
        score = values.double() @ pool.query.weight[0].double() + pool.query.bias.double()
        assert largest(pixel - mean_under(score[:, None], values)) < TOLERANCE


@pytest.mark.parametrize(
    ("pooling", "scores"),
    [(Pooling.TORCH_GRU, torch_gru_scores), (Pooling.GATED_GRU, gated_gru_scores)],
)
def test_a_recurrent_pooling_follows_its_formula_step_by_step(pooling, scores):
    pool, hidden = random_pool(pooling), random_hidden()

    found = pool(hidden)

    for pixel, values in zip(found, hidden, strict=True):
        assert largest(pixel - mean_under(scores(pool, values), values)) < TOLERANCE


@pytest.mark.parametrize(
    "change",
    [{"keeps": True}, {"resets_late": True}, {"is_normed": False}],
    ids=["update gate of the other sense", "reset gate behind the product", "no LayerNorm"],
)
def test_the_two_recurrent_poolings_differ_in_three_ways_that_all_show(change):
    pool, hidden = random_pool(Pooling.GATED_GRU), random_hidden()[0]

    found = pool(hidden[None])[0]

    wrong = mean_under(gated_gru_scores(pool, hidden, **change), hidden)
    assert largest(found - wrong) > 0.01


def test_the_hand_written_gru_is_not_torchs_whatever_the_weights_are_called():
    gated, twin = random_pool(Pooling.GATED_GRU), random_pool(Pooling.TORCH_GRU)
    recurrent = torch.cat([gated.recurrent_gates.weight, gated.recurrent_new.weight])
    twin.gru.load_state_dict(
        {
            "weight_ih_l0": gated.input.weight,
            "bias_ih_l0": gated.input.bias,
            "weight_hh_l0": recurrent,
            "bias_hh_l0": torch.zeros(3 * WIDTH),
        }
    )
    hidden = random_hidden()

    difference = gated.norm(twin.context(hidden)) - gated.context(hidden)

    assert largest(difference) > 0.1


@by_pooling
def test_the_mean_is_over_the_given_values_and_not_over_the_scores_states(pooling):
    pool = random_pool(pooling)
    constant = torch.full((2, 5, WIDTH), 3.0)

    assert largest(pool(constant) - 3.0) < TOLERANCE


@by_pooling
def test_one_observation_is_returned_as_it_is(pooling):
    hidden = random_hidden(length=1)

    assert torch.equal(random_pool(pooling)(hidden), hidden[:, 0])


@by_pooling
def test_counted_observations_pool_to_what_the_whole_sequence_does(pooling):
    pool, distinct = random_pool(pooling), random_hidden(num=2, length=4)
    # The second d-pixel has three observations and one place of padding.
    place = torch.tensor([[0, 1, 2, 3, 1, 3, 3], [0, 1, 2, 0, 1, 2, 0]])
    count = torch.stack([torch.bincount(row, minlength=4) for row in place])
    repeats = Repeats(log_count_BU=count.float().log(), place_BL=place)
    sequence = distinct.gather(1, place[..., None].expand(-1, -1, WIDTH))

    found, expected = pool(distinct, repeats), pool(sequence)

    assert largest(found - expected) < TOLERANCE
    assert largest(pool(distinct) - expected) > 0.01, "counts matter"


@pytest.mark.parametrize("pooling", [Pooling.TORCH_GRU, Pooling.GATED_GRU])
def test_a_recurrent_pooling_notices_the_order_of_observations(pooling):
    pool, hidden = random_pool(pooling), random_hidden()

    assert largest(pool(hidden) - pool(hidden.flip(1))) > 0.01


def test_attention_pooling_does_not_notice_the_order_of_observations():
    pool, hidden = random_pool(Pooling.ATTENTION), random_hidden()

    assert largest(pool(hidden) - pool(hidden.flip(1))) < TOLERANCE


def test_the_mean_is_summed_in_float32_also_for_bfloat16():
    ones = torch.ones(1, 100, WIDTH, dtype=torch.bfloat16)

    mean = weighted_mean(ones, torch.zeros(1, 100, 1, dtype=torch.bfloat16))

    assert torch.tensor(0.01).bfloat16().item() * 100 != pytest.approx(1, abs=1e-4)
    assert mean.dtype == torch.float32
    assert largest(mean - 1) < TOLERANCE


def test_a_model_in_float64_pools_in_float64():
    pool, hidden = random_pool(Pooling.ATTENTION).double(), random_hidden().double()

    found = pool(hidden)

    score = hidden @ pool.query.weight[0] + pool.query.bias
    expected = torch.stack(
        [mean_under(row[:, None], values) for row, values in zip(score, hidden, strict=True)]
    )
    assert largest(found - expected) < 1e-14
