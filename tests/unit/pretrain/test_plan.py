"""Which d-pixels a step sees, and by which chance: a pure function of settings and step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.pretrain.step_order import NUM_ROUNDS, permuted, plan_step, rows_of_step
from tessera_core.testing.models import tiny_settings

WORDS = st.lists(st.integers(0, 2**64 - 1), min_size=NUM_ROUNDS, max_size=NUM_ROUNDS)


def rows(step, num_pixels, batch_size=16, **changes):
    return rows_of_step(step, num_pixels, tiny_settings(batch_size=batch_size, **changes))


@given(num=st.integers(1, 3000), words=WORDS)
def test_the_epochs_order_is_a_permutation_of_any_number_of_dpixels(num, words):
    found = permuted(np.arange(num), num, np.array(words, np.uint64))

    assert sorted(found) == list(range(num))


@given(num=st.integers(1, 2**40), place=st.integers(0, 2**40), words=WORDS)
def test_a_place_is_found_without_the_others_however_many_there_are(num, place, words):
    words = np.array(words, np.uint64)
    place %= num

    alone = permuted(np.array([place]), num, words)
    among = permuted(np.array([0, place, num - 1]), num, words)

    assert 0 <= alone[0] < num
    assert among[1] == alone[0]


def test_the_order_is_spread_evenly_over_the_set():
    num, batch = 4096, 256
    batches = np.stack([rows(step, num, batch) for step in range(num // batch)])

    # How many of each batch come from each sixteenth of the set: 16 on average if shuffled.
    counts = np.stack([np.bincount(one * 16 // num, minlength=16) for one in batches])
    chi_square = ((counts - 16) ** 2 / 16).sum()
    # 225 degrees of freedom: 99.9 % of random orders stay below 297, and a regular one near 0.
    assert 160 < chi_square < 297


def test_an_epoch_shows_every_dpixel_once():
    seen = np.concatenate([rows(step, 48) for step in range(3)])

    assert sorted(seen) == list(range(48))


def test_the_remainder_of_an_epoch_is_left_out_and_differs_from_epoch_to_epoch():
    epochs = [
        np.concatenate([rows(step, 50) for step in range(start, start + 3)])
        for start in (0, 3, 6, 9)
    ]

    assert all(len(np.unique(epoch)) == 48 for epoch in epochs)
    assert len(np.unique(np.concatenate(epochs))) == 50


def test_each_epoch_and_each_seed_has_its_own_order():
    first, next_epoch = rows(0, 48), rows(3, 48)

    assert first.tolist() != next_epoch.tolist()
    assert first.tolist() != rows(0, 48, seed=4).tolist()


def test_without_reshuffling_every_epoch_reads_the_shards_in_their_order():
    for epoch in range(2):
        seen = np.concatenate([rows(3 * epoch + step, 50, reshuffle=False) for step in range(3)])

        assert seen.tolist() == list(range(48))


def test_a_batch_larger_than_the_set_is_the_whole_set_every_step():
    for step in range(3):
        assert sorted(rows(step, 10, 256)) == list(range(10))


def test_a_small_set_is_cut_to_what_the_ranks_can_share_evenly():
    assert len(rows(0, 11, 256, num_ranks=4)) == 8


def test_the_number_of_ranks_and_loaders_changes_nothing():
    plans = [
        plan_step(5, 100, tiny_settings(num_ranks=ranks, num_loaders=loaders))
        for ranks, loaders in ((1, 0), (2, 3))
    ]

    assert plans[0].rows_B.tolist() == plans[1].rows_B.tolist()
    assert plans[0].partner_B.tolist() == plans[1].partner_B.tolist()
    assert plans[0].key == plans[1].key


def test_partners_are_a_permutation_of_the_batch():
    partner = plan_step(4, 50, tiny_settings()).partner_B

    assert sorted(partner) == list(range(16))
    assert partner.tolist() != list(range(16))


def test_the_mix_share_is_one_number_per_step_and_spreads_over_0_to_1():
    shares = np.array([plan_step(step, 50, tiny_settings()).mix_share for step in range(40)])

    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.min() < 0.2
    assert shares.max() > 0.8
    assert len(np.unique(shares)) == 40


def test_of_several_lengths_each_step_draws_one_per_sensor():
    settings = tiny_settings(view_lengths=(8, 16, 24))

    lengths = [plan_step(step, 50, settings).lengths for step in range(60)]

    assert {s2 for s2, _ in lengths} == {s1 for _, s1 in lengths} == {8, 16, 24}
    assert len(set(lengths)) == 9


@pytest.mark.parametrize("change", [{"step": 8}, {"step": 7, "seed": 4}], ids=["step", "seed"])
def test_another_step_or_seed_has_another_key(change):
    step = change.pop("step")

    assert plan_step(step, 50, tiny_settings(**change)).key != plan_step(7, 50, tiny_settings()).key
