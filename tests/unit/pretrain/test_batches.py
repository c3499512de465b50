"""Which views a step sees: a pure function of settings, step and d-pixels, whatever the ranks."""

import numpy as np
import pytest
import torch

from tessera_core.model.tokens import series_tokens
from tessera_core.pretrain.batches import rows_to_gather
from tessera_core.pretrain.ranks import Ranks
from tessera_core.pretrain.step_order import plan_step
from tessera_core.testing.models import tiny_settings
from tessera_core.testing.pixels import NORMS, make_pixels, random_pixels
from tests.unit.pretrain.made import ALONE, batch_at

PIXELS = random_pixels(50, seed=30)
CPU = torch.device("cpu")


def draw(step, *, pixels=PIXELS, ranks=ALONE, **changes):
    return batch_at(step, pixels, tiny_settings(**{"view_lengths": (6,), **changes}), ranks)


def tensors(batch):
    return [*batch.first, *batch.second, *batch.mixed, batch.partner_B]


def are_equal(one, other):
    same = all(torch.equal(*pair) for pair in zip(tensors(one), tensors(other), strict=True))
    return same and one.mix_share == other.mix_share and one.rows.tolist() == other.rows.tolist()


def usable_tokens(pixel):
    """Return the tokens of one d-pixel's valid observations, as bytes: of S2, and of S1."""
    series = (pixel.optical, pixel.ascending, pixel.descending)
    stats = (NORMS.s2, NORMS.s1_ascending, NORMS.s1_descending)
    optical, *radar = (
        {token.tobytes() for token in series_tokens(one, np.flatnonzero(one.valid), scale)}
        for one, scale in zip(series, stats, strict=True)
    )
    return optical, set.union(*radar)


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


def test_drawing_leaves_the_chance_of_torch_and_numpy_as_it_was():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()

    draw(7, modality_dropout=0.5)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_dpixel_met_again_in_the_next_epoch_has_other_views():
    pixels = make_pixels([15] * 4, [9] * 4, [9] * 4, seed=31)

    batches = [draw(step, pixels=pixels, batch_size=4) for step in range(2)]

    by_pixel = [batch.first[0][np.argsort(batch.rows)] for batch in batches]
    assert (by_pixel[0] != by_pixel[1]).any(dim=(1, 2)).all()


def test_the_two_views_of_a_step_differ_in_both_sensors():
    batch = draw(0, pixels=make_pixels([18] * 16, [12] * 16, [12] * 16, seed=32))

    for one, two in zip(batch.first, batch.second, strict=True):
        assert (one != two).any(dim=(1, 2)).all()
    assert 0 < batch.overlap < 0.7


def test_identical_views_would_show_as_full_overlap():
    only_one_observation = make_pixels([1] * 8, [1] * 8, [0] * 8, seed=33)

    assert draw(0, pixels=only_one_observation, batch_size=8).overlap == 1


def test_disjoint_views_share_no_optical_observation():
    pixels = make_pixels([18] * 16, [12] * 16, [12] * 16, seed=32)

    assert draw(0, pixels=pixels, views="disjoint").overlap == 0


@pytest.mark.parametrize("lengths", [(6,), (3, 7)], ids=["one", "several"])
def test_tokens_have_the_lengths_of_the_plan_and_the_type_the_encoder_takes(lengths):
    settings = tiny_settings(view_lengths=lengths)

    for step in range(4):
        batch, plan = batch_at(step, PIXELS, settings), plan_step(step, 50, settings)

        for s2, s1 in (batch.first, batch.second, batch.mixed):
            assert s2.shape == (16, plan.lengths[0], 11)
            assert s1.shape == (16, plan.lengths[1], 3)
            assert s2.dtype == s1.dtype == torch.float32


def test_a_view_holds_only_valid_observations_of_its_own_dpixel():
    batch = draw(2)

    for view in (batch.first, batch.second):
        for place, row in enumerate(batch.rows):
            known = usable_tokens(PIXELS.take(np.array([row])))
            for tokens, usable in zip(view, known, strict=True):
                usable = usable or {np.zeros(tokens.shape[2], np.float32).tobytes()}
                assert {token.tobytes() for token in tokens[place].numpy()} <= usable


def test_optical_observations_stand_in_time_order():
    days = draw(2).first[0][..., -1]

    assert (days.diff(dim=1) >= 0).all()


def test_the_mix_covers_both_sensors_and_the_day_channel():
    batch = draw(5)
    share, partner = batch.mix_share, batch.partner_B

    for one, two, found in zip(batch.first, batch.second, batch.mixed, strict=True):
        expected = share * one.double() + (1 - share) * two[partner].double()
        assert (found - expected).abs().max() < 1e-4
    days = batch.mixed[0][..., -1]
    assert ((days - days.round()).abs() > 1e-3).any(), "a mixed day is no whole day"
    assert ((days >= 1) & (days <= 366)).all()


def test_a_dpixel_that_no_radar_saw_gets_zeros_in_both_views():
    batch = draw(0, pixels=make_pixels([9] * 4, [0] * 4, [0] * 4, seed=34), batch_size=4)

    assert (batch.first[1] == 0).all()
    assert (batch.second[1] == 0).all()
    assert (batch.first[0] != batch.second[0]).any()


@pytest.mark.parametrize("size", [2, 4])
def test_the_parts_of_all_ranks_are_the_batch_of_one(size):
    whole = draw(6, modality_dropout=0.3)

    parts = [
        draw(
            6,
            ranks=Ranks(rank=rank, size=size, device=CPU),
            modality_dropout=0.3,
            num_ranks=size,
        )
        for rank in range(size)
    ]

    assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()
    for name in ("first", "second", "mixed"):
        for sensor in range(2):
            together = torch.cat([getattr(part, name)[sensor] for part in parts])
            assert torch.equal(together, getattr(whole, name)[sensor]), name
    assert all(torch.equal(part.partner_B, whole.partner_B) for part in parts)


def test_a_rank_reads_its_own_dpixels_and_their_partners_and_no_others():
    plan = plan_step(6, 50, tiny_settings(num_ranks=4))

    rows = [rows_to_gather(plan, Ranks(rank=rank, size=4, device=CPU)) for rank in range(4)]

    assert all(len(needed) == 8 for needed in rows)
    assert np.concatenate([needed[:4] for needed in rows]).tolist() == plan.rows_B.tolist()
    partners = np.concatenate([needed[4:] for needed in rows])
    assert partners.tolist() == plan.rows_B[plan.partner_B].tolist()
