"""Batches: whatever is grouped, padded and counted, each d-pixel is embedded as if alone."""

import numpy as np
import pytest
import torch

from tessera_core.domain.dpixel import concatenate
from tessera_core.domain.sampling import GOLDEN_GAMMA, V1_1_SAMPLING, V2_SAMPLING
from tessera_core.model import embed
from tessera_core.model.embed import _seed_of, embed_pixels
from tessera_core.model.equal_lengths import equal_lengths, plan_sensor
from tessera_core.model.family import Family
from tessera_core.model.sequences import sequences_of
from tessera_core.testing.pixels import NORMS, make_pixels, random_pixels
from tests.unit.model.made import FAMILIES, SHORT, made_model, one_by_one, written_pixels

TOLERANCE = 5e-6
"""Absolute, on values of deviation 1: matrix products of another height sum in another order."""

CPU = torch.device("cpu")
RANDOM = (Family.V1_0_EARLY, Family.V1_0_QAT)
by_family = pytest.mark.parametrize("family", FAMILIES)


def pixels_of_all_kinds(seed=1):
    """Few and many observations, more than the largest bucket, missing orbits and sensors."""
    odd = make_pixels(
        [1, 3, 0, 0, 270, 8, 9, 0],
        [0, 2, 3, 0, 4, 8, 0, 1],
        [0, 0, 2, 0, 260, 0, 9, 0],
        seed=seed,
        num_unusable=2,
    )
    return concatenate([random_pixels(24, seed), odd])


def embedded(model, pixels, **how):
    width = model.config.encoder.embedding_dim
    return embed_pixels(model, pixels, **{"batch_size": 64, "dim": width, **how})


@by_family
def test_embeddings_are_those_of_whole_sequences_one_dpixel_at_a_time(family):
    model, pixels = made_model(family), pixels_of_all_kinds()

    found = embedded(model, pixels, seed=5)

    expected = one_by_one(model, pixels, seed=_seed_of(5, 0))
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


@by_family
@pytest.mark.parametrize("batch_size", [1, 5])
def test_an_embedding_does_not_depend_on_neighbours_place_or_batch_size(family, batch_size):
    model, pixels = made_model(family), pixels_of_all_kinds()
    rows = np.random.default_rng(2).permutation(len(pixels))

    moved = embedded(model, pixels.take(rows), batch_size=batch_size)

    expected = embedded(model, pixels)[rows]
    np.testing.assert_allclose(moved, expected, atol=TOLERANCE, rtol=0)


@by_family
def test_other_neighbours_of_equal_shape_leave_every_byte_as_it_was(family):
    model = made_model(family)
    shape = ([13] * 9, [5] * 9, [4] * 9)
    one, others = make_pixels(*shape, seed=3), make_pixels(*shape, seed=4)
    place = np.array([4])
    beside = concatenate([others.take(np.arange(4)), one.take(place), others.take(np.arange(5, 9))])

    expected, found = embedded(model, one), embedded(model, beside)

    assert np.abs(found - expected)[[0, 8]].max() > 0.001
    assert found[4].tobytes() == expected[4].tobytes()


@by_family
def test_more_dpixels_than_fit_in_memory_are_embedded_in_spans(family, monkeypatch):
    model, pixels = made_model(family), pixels_of_all_kinds()
    expected = embedded(model, pixels)
    seen = []
    original = embed.sequences_of
    monkeypatch.setattr(embed, "SPAN", 7)
    monkeypatch.setattr(
        embed, "sequences_of", lambda part, *rest: seen.append(len(part)) or original(part, *rest)
    )

    found = embedded(model, pixels)

    assert seen == [7, 7, 7, 7, 4]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", RANDOM)
def test_repeats_are_the_float32_mean_of_single_draws(family):
    model, pixels = made_model(family), pixels_of_all_kinds()
    # The seed of draw k is that of the first draw k golden gammas further on.
    seeds = [(9 + draw * int(GOLDEN_GAMMA)) % 2**64 for draw in range(3)]
    singles = [embedded(model, pixels, seed=seed) for seed in seeds]

    found = embedded(model, pixels, seed=9, repeats=3)

    mean = ((singles[0] + singles[1]) + singles[2]) / np.float32(3)
    assert found.dtype == np.float32
    assert np.array_equal(found, mean, equal_nan=True)
    assert np.nanmax(np.abs(singles[0] - singles[1])) > 0.001
    assert np.nanmax(np.abs(singles[1] - singles[2])) > 0.001


@pytest.mark.parametrize("family", RANDOM)
def test_a_draw_has_the_same_bytes_for_the_same_seed_and_others_for_another(family):
    model = made_model(family)
    pixels = make_pixels([20] * 6, [9] * 6, [9] * 6, seed=4)

    one, again, other = (embedded(model, pixels, seed=seed) for seed in (1, 1, 2))

    assert one.tobytes() == again.tobytes()
    assert (np.abs(one - other).max(axis=1) > 0.001).all()


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 + 3])
def test_any_whole_number_is_a_seed(seed):
    model, pixels = made_model(Family.V1_0_EARLY), random_pixels(3, seed=5)

    assert np.isfinite(embedded(model, pixels, seed=seed)).all()


@pytest.mark.parametrize("family", [Family.V1_1_MPC, Family.V2_STUDENT])
def test_a_rule_without_chance_ignores_seed_and_repeats(family):
    model, pixels = made_model(family), random_pixels(6, seed=6)
    expected, passes = embedded(model, pixels), []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    again = embedded(model, pixels)
    num_passes = len(passes)
    found = embedded(model, pixels, seed=3, repeats=4)

    assert again.tobytes() == found.tobytes() == expected.tobytes()
    assert len(passes) == 2 * num_passes


def test_v1_0_draws_its_fixed_number_and_no_more():
    model = made_model(Family.V1_0_EARLY)
    pixels = make_pixels([20, 3, SHORT], [9, 2, 0], [9, 0, 4], seed=7)
    s2, _, _ = sequences_of(pixels, NORMS, model.config.sampling)

    plan = plan_sensor(s2, np.arange(3), model.config.sampling, 1, CPU)

    assert plan.drawn_BL.shape == (3, SHORT)
    assert len(np.unique(plan.drawn_BL[0])) == SHORT
    assert plan.drawn_BL[1].max() <= 2
    assert plan.drawn_BL[2].tolist() == list(range(SHORT))


def test_distinct_observations_are_all_that_there_are_within_the_length():
    pixels = make_pixels([1, 4, 5, 8, 9, 250, 300], [0] * 7, [0] * 7, seed=9)
    s2, s1, _ = sequences_of(pixels, NORMS, V2_SAMPLING)

    plans = [plan_sensor(part, np.arange(7), V2_SAMPLING, 0, CPU) for part in (s2, s1)]

    assert plans[0].length.tolist() == [8, 8, 8, 8, 16, 256, 256]
    assert plans[0].num_distinct.tolist() == [1, 4, 5, 8, 9, 250, 256]
    assert plans[1].num_distinct.tolist() == [1] * 7


def test_a_batch_is_padded_to_its_largest_number_with_observations_that_count_nothing():
    pixels = make_pixels([9, 12, 16], [3] * 3, [0] * 3, seed=10)
    s2, _, _ = sequences_of(pixels, NORMS, V2_SAMPLING)
    plan = plan_sensor(s2, np.arange(3), V2_SAMPLING, 0, CPU)

    tokens, repeats = plan.take(np.arange(2))

    counts = repeats.log_count_BU.exp().round()
    assert tokens.shape[:2] == counts.shape == (2, 12)
    assert counts.sum(dim=1).tolist() == [16, 16]
    assert (counts[0, 9:] == 0).all()
    assert plan.take(np.array([2]))[1] is None, "sixteen observations fill their bucket"


def test_a_gpu_gets_sequences_as_the_rule_fills_them():
    pixels = make_pixels([9, 12, 16], [3] * 3, [0] * 3, seed=10)
    s2, _, _ = sequences_of(pixels, NORMS, V2_SAMPLING)

    plan = plan_sensor(s2, np.arange(3), V2_SAMPLING, 0, torch.device("meta"))

    assert plan.num_distinct.tolist() == [16, 16, 16]


def test_groups_are_ordered_by_distinct_observations():
    pixels = make_pixels([15, 9, 12, 10], [3] * 4, [0] * 4, seed=11)
    s2, s1, _ = sequences_of(pixels, NORMS, V2_SAMPLING)
    plans = tuple(plan_sensor(part, np.arange(4), V2_SAMPLING, 0, CPU) for part in (s2, s1))

    groups = equal_lengths(plans)

    assert [group.tolist() for group in groups] == [[1, 3, 2, 0]]


def test_equal_draws_count_as_one_distinct_observation():
    model = made_model(Family.V1_0_EARLY)
    pixels = make_pixels([1, 20], [1, 1], [0, 0], seed=7)
    s2, _, _ = sequences_of(pixels, NORMS, model.config.sampling)

    plan = plan_sensor(s2, np.arange(2), model.config.sampling, 1, CPU)

    assert plan.drawn_BL[0].tolist() == [0] * SHORT
    assert plan.num_distinct.tolist() == [1, SHORT]


@pytest.mark.parametrize(("sampling", "length"), [(V1_1_SAMPLING, 8), (V2_SAMPLING, 1)])
def test_a_silent_sensor_is_planned_as_eight_zeros_for_v1_1_and_as_one_for_v2(sampling, length):
    pixels = written_pixels([[(5, 900, True)]] * 2, [[]] * 2, [[]] * 2)
    _, s1, _ = sequences_of(pixels, NORMS, sampling)

    plan = plan_sensor(s1, np.arange(2), sampling, 0, CPU)
    tokens, repeats = plan.take(np.arange(2))

    assert plan.length.tolist() == [length] * 2
    assert not tokens.any()
    if length == 1:
        assert tokens.shape == (2, 1, 3)
        assert repeats is None
    else:
        assert repeats.place_BL.tolist() == [[0] * length] * 2
        assert repeats.log_count_BU.exp().sum(dim=1).tolist() == pytest.approx([length] * 2)


def test_a_dpixel_that_a_sensor_never_saw_gets_zeros_beside_one_that_it_saw_once():
    # Both are sequences of eight under v1.1, so they share a batch.
    pixels = written_pixels([[(5, 900, True)]] * 2, [[], [(9, 5000, True)]], [[]] * 2)
    s2, s1, _ = sequences_of(pixels, NORMS, V1_1_SAMPLING)
    plans = tuple(plan_sensor(part, np.arange(2), V1_1_SAMPLING, 0, CPU) for part in (s2, s1))

    groups = equal_lengths(plans)
    tokens, _ = plans[1].take(groups[0])

    assert [group.tolist() for group in groups] == [[0, 1]]
    assert not tokens[0].any()
    assert tokens[1, 0].tolist() == s1.tokens_MC[0].tolist()


def test_no_dpixels_make_no_batch():
    pixels = random_pixels(3, seed=8)
    s2, s1, _ = sequences_of(pixels, NORMS, V2_SAMPLING)
    nothing = np.zeros(0, np.int64)

    plans = tuple(plan_sensor(part, nothing, V2_SAMPLING, 0, CPU) for part in (s2, s1))

    assert equal_lengths(plans) == []
