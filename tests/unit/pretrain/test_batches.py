"""Which d-pixels and views a step sees: a pure function of seed and step."""

import numpy as np
import pytest
import torch

from tessera_core.model.tokens import optical_stream, radar_stream
from tessera_core.pretrain.batches import draw_batch, rows_of_step
from tessera_core.testing.pixels import NORMS, make_pixels, random_pixels

PIXELS = random_pixels(50, seed=30)


def draw(step, *, seed=1, pixels=PIXELS, batch_size=16, view_length=6):
    return draw_batch(
        pixels, NORMS, step, batch_size=batch_size, view_length=view_length, seed=seed
    )


def tensors(batch):
    return [*batch.first, *batch.second, batch.partner_B]


def are_equal(one, other):
    same = all(torch.equal(*pair) for pair in zip(tensors(one), tensors(other), strict=True))
    return same and one.mix_share == other.mix_share


def test_an_epoch_shows_every_dpixel_once():
    seen = np.concatenate([rows_of_step(step, 48, 16, seed=1) for step in range(3)])

    assert sorted(seen) == list(range(48))


def test_the_remainder_of_an_epoch_is_left_out_and_never_repeated():
    epochs = [
        np.concatenate([rows_of_step(step, 50, 16, seed=1) for step in range(start, start + 3)])
        for start in (0, 3, 6)
    ]

    assert all(len(np.unique(epoch)) == 48 for epoch in epochs)
    assert len(np.unique(np.concatenate(epochs))) == 50


def test_each_epoch_and_each_seed_has_its_own_order():
    first, next_epoch = rows_of_step(0, 48, 16, seed=1), rows_of_step(3, 48, 16, seed=1)
    other_seed = rows_of_step(0, 48, 16, seed=2)

    assert first.tolist() != next_epoch.tolist()
    assert first.tolist() != other_seed.tolist()


def test_a_batch_larger_than_the_set_is_the_whole_set_every_step():
    for step in range(3):
        assert sorted(rows_of_step(step, 10, 256, seed=1)) == list(range(10))


def test_the_views_of_a_step_are_a_pure_function_of_seed_and_step():
    torch.manual_seed(99)
    before = draw(7)
    draw(3)
    torch.manual_seed(12)

    after = draw(7)

    assert are_equal(before, after)


@pytest.mark.parametrize("change", [{"step": 8}, {"step": 7, "seed": 2}], ids=["step", "seed"])
def test_another_step_or_seed_has_other_views(change):
    assert not are_equal(draw(7), draw(**change))


def test_a_dpixel_met_again_in_the_next_epoch_has_other_views():
    pixels = make_pixels([15] * 4, [9] * 4, [9] * 4, seed=31)

    views = [draw(step, pixels=pixels, batch_size=4).first[0] for step in range(2)]

    orders = [rows_of_step(step, 4, 4, seed=1) for step in range(2)]
    by_pixel = [view[np.argsort(order)] for view, order in zip(views, orders, strict=True)]
    assert (by_pixel[0] != by_pixel[1]).any(dim=(1, 2)).all()


def test_the_two_views_of_a_step_differ_in_both_sensors():
    batch = draw(0, pixels=make_pixels([18] * 16, [12] * 16, [12] * 16, seed=32))

    for one, two in zip(batch.first, batch.second, strict=True):
        assert (one != two).any(dim=(1, 2)).all()
    assert 0 < batch.overlap < 0.7


def test_identical_views_would_show_as_full_overlap():
    only_one_observation = make_pixels([1] * 8, [1] * 8, [0] * 8, seed=33)

    assert draw(0, pixels=only_one_observation, batch_size=8).overlap == 1


def test_tokens_have_the_shape_and_type_the_encoder_takes():
    batch = draw(0)

    for s2, s1 in (batch.first, batch.second, batch.mixed()):
        assert s2.shape == (16, 6, 11)
        assert s1.shape == (16, 6, 3)
        assert s2.dtype == s1.dtype == torch.float32


@pytest.mark.parametrize(
    ("sensor", "stream"), [(0, optical_stream), (1, radar_stream)], ids=["s2", "s1"]
)
def test_a_view_holds_only_valid_observations_of_its_own_dpixel(sensor, stream):
    batch, rows = draw(2), rows_of_step(2, 50, 16, seed=1)
    source = stream(PIXELS, rows, NORMS)

    for view in (batch.first[sensor], batch.second[sensor]):
        for tokens, known, valid in zip(
            view.numpy(), source.tokens_BTC, source.valid_BT, strict=True
        ):
            usable = {token.tobytes() for token in known[valid]}
            usable = usable or {np.zeros(tokens.shape[1], np.float32).tobytes()}
            assert {token.tobytes() for token in tokens} <= usable


def test_optical_observations_stand_in_time_order():
    days = draw(2).first[0][..., -1]

    assert (days.diff(dim=1) >= 0).all()


def test_partners_are_a_permutation_of_the_batch():
    partner = draw(4).partner_B

    assert sorted(partner.tolist()) == list(range(16))
    assert partner.tolist() != list(range(16))


def test_the_mix_share_is_one_number_per_step_and_spreads_over_0_to_1():
    shares = np.array([draw(step, batch_size=4).mix_share for step in range(40)])

    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.min() < 0.2
    assert shares.max() > 0.8
    assert len(np.unique(shares)) == 40


def test_the_mix_covers_both_sensors_and_the_day_channel():
    batch = draw(5)
    share, partner = batch.mix_share, batch.partner_B

    mixed = batch.mixed()

    for one, two, found in zip(batch.first, batch.second, mixed, strict=True):
        expected = share * one.double() + (1 - share) * two[partner].double()
        assert (found - expected).abs().max() < 1e-4
    days = mixed[0][..., -1]
    assert ((days - days.round()).abs() > 1e-3).any(), "a mixed day is no whole day"
    assert ((days >= 1) & (days <= 366)).all()


def test_a_dpixel_that_no_radar_saw_gets_zeros_in_both_views():
    batch = draw(0, pixels=make_pixels([9] * 4, [0] * 4, [0] * 4, seed=34), batch_size=4)

    assert (batch.first[1] == 0).all()
    assert (batch.second[1] == 0).all()
    assert (batch.first[0] != batch.second[0]).any()
