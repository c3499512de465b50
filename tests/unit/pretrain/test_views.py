"""Two views from raw observations: what they show, and that chance is fair and counted."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from tessera_core.errors import ConfigError, RecordError
from tessera_core.pretrain.chance import Stream, stream_words
from tessera_core.pretrain.raw_pixels import RawPixels, RawSeries
from tessera_core.pretrain.views import draw_views
from tessera_core.testing.pixels import NORMS, make_pixels
from tessera_core.testing.raw import AS_STORED, numbered_pixels, padded_pixels

NUM, KEY = 4000, 17
FAIR = (0.001, 0.999)
"""A chi-square test of fair draws lands outside once in 500 keys; keys here are fixed."""


def full(num_optical, num_ascending, num_descending, num=NUM):
    """Return a batch whose observations are all valid and numbered from 1."""
    masks = (np.ones((num, T), np.bool_) for T in (num_optical, num_ascending, num_descending))
    return RawPixels.from_padded(numbered_pixels(*masks))


def draw(raw, norms=AS_STORED, **changes):
    settings = {
        "position_B": torch.arange(len(raw)),
        "key": KEY,
        "lengths": (10, 10),
        "is_disjoint": False,
        "modality_dropout": 0.0,
    }
    return draw_views(raw, norms, **{**settings, **changes})


def held(view, sensor, num_observations):
    """Return how often each view holds each observation, (B, T)."""
    places = view[sensor][..., -1].long() - 1
    counts = torch.zeros(len(places), num_observations, dtype=torch.int64)
    return counts.scatter_add_(1, places, torch.ones_like(places)).numpy()


def tensors(views):
    return [*views.first, *views.second, views.overlap]


def are_equal(one, other):
    return all(torch.equal(*pair) for pair in zip(tensors(one), tensors(other), strict=True))


# -- what a view shows


def test_tokens_have_the_shape_and_type_the_encoder_takes():
    views = draw(full(12, 5, 6, num=3), lengths=(8, 4))

    for s2, s1 in (views.first, views.second):
        assert s2.shape == (3, 8, 11)
        assert s1.shape == (3, 4, 3)
        assert s2.dtype == s1.dtype == torch.float32
    assert views.overlap.shape == ()
    assert views.overlap.dtype == torch.float32


def test_with_just_enough_observations_the_view_is_all_of_them_ascending_orbit_first():
    views = draw(full(10, 4, 6, num=2))

    for view in (views.first, views.second):
        assert view[0][..., -1].tolist() == [list(range(1, 11))] * 2
        assert view[1][..., -1].tolist() == [list(range(1, 11))] * 2


def test_each_orbit_keeps_its_own_statistics():
    raw = full(1, 1, 1, num=1)

    _, s1 = draw(raw, NORMS, lengths=(1, 2)).first

    expected = [
        NORMS.s1_ascending.apply(np.array([1, 1])),
        NORMS.s1_descending.apply(np.array([2, 2])),
    ]
    assert np.array_equal(s1[0, :, :2].numpy(), expected)


def test_values_below_the_mean_do_not_wrap_around_and_large_ones_keep_their_sign():
    raw = full(2, 1, 1, num=1)
    raw.optical.values[0, 0], raw.optical.values[0, 1] = 0, 65_535
    raw.ascending.values[0, 0] = -32_768

    s2, s1 = draw(raw, NORMS, lengths=(2, 2)).first

    assert (s2[0, 0, :-1] < 0).all()
    assert (s2[0, 1, :-1] > 30).all()
    assert (s1[0, 0, :2] < -40).all()


def test_the_day_of_year_arrives_exactly():
    raw = full(3, 1, 1, num=1)
    raw.optical.day_of_year[0] = torch.tensor([257, 365, 366], dtype=torch.uint16)

    assert draw(raw, NORMS, lengths=(3, 1)).first[0][0, :, -1].tolist() == [257, 365, 366]


def test_a_dpixel_that_a_sensor_never_saw_gets_zeros_day_included():
    pixels = make_pixels([0, 9, 9], [4, 0, 0], [0, 0, 3], seed=1, num_unusable=2)

    views = draw(RawPixels.from_padded(padded_pixels(pixels)), NORMS)

    for s2, s1 in (views.first, views.second):
        assert s2.any(dim=2).any(dim=1).tolist() == [False, True, True]
        assert s1.any(dim=2).any(dim=1).tolist() == [True, False, True]


@pytest.mark.parametrize("num", [0, 2])
def test_a_batch_without_any_observation_gives_zeros_and_no_overlap(num):
    views = draw(full(0, 0, 0, num=num))

    assert [list(one.shape) for one in views.first] == [[num, 10, 11], [num, 10, 3]]
    assert all((one == 0).all() for one in tensors(views))


# -- overlap and disjoint views


def test_the_two_views_differ_in_both_sensors():
    views = draw(full(25, 12, 12))

    for one, two in zip(views.first, views.second, strict=True):
        assert (one != two).any(dim=(1, 2)).float().mean() > 0.99


def test_overlap_is_the_share_of_places_with_the_same_observation():
    views = draw(full(25, 3, 3))

    same = views.first[0][..., -1] == views.second[0][..., -1]
    assert views.overlap == same.double().mean().float()
    assert 0.05 < views.overlap < 0.4


def test_identical_views_would_show_as_full_overlap():
    assert draw(full(1, 1, 0)).overlap == 1


def test_a_hidden_sensor_overlaps_with_nothing():
    assert draw(full(1, 1, 0), modality_dropout=1.0).overlap < 0.3


def test_each_observation_is_dealt_to_each_view_equally_often():
    views = draw(full(10, 4, 4), lengths=(5, 4), is_disjoint=True)

    first, second = (held(view, 0, 10) for view in (views.first, views.second))
    assert (first + second == 1).all()
    assert FAIR[0] < inclusion_chance(first, 5) < FAIR[1]
    assert views.overlap == 0


def test_the_first_view_is_dealt_the_odd_observation():
    views = draw(full(5, 2, 1), lengths=(3, 2), is_disjoint=True)

    first, second = (held(view, 0, 5) for view in (views.first, views.second))
    assert ((first > 0).sum(axis=1) == 3).all()
    assert ((second > 0).sum(axis=1) <= 2).all()


# -- modality dropout


def is_seen(view):
    return [tokens.any(dim=2).any(dim=1) for tokens in view]


def test_either_sensor_is_hidden_equally_often_and_never_both():
    views = draw(full(5, 3, 3), modality_dropout=0.4)

    for view in (views.first, views.second):
        s2, s1 = is_seen(view)
        assert (s2 | s1).all()
        # 800 of 4000 each; the deviation is 25.
        assert abs((~s2).sum() - 800) < 100
        assert abs((~s1).sum() - 800) < 100


def test_views_hide_independently():
    views = draw(full(5, 3, 3), modality_dropout=0.5)

    hidden = [~is_seen(view)[0] & is_seen(view)[1] for view in (views.first, views.second)]

    # A quarter of a quarter of 4000; the deviation is 15.
    assert abs((hidden[0] & hidden[1]).sum() - 250) < 60


@pytest.mark.parametrize(("chance", "num_hidden"), [(0.0, 0), (1.0, NUM)])
def test_a_chance_of_0_hides_nothing_and_of_1_always_one(chance, num_hidden):
    s2, s1 = is_seen(draw(full(5, 3, 3), modality_dropout=chance).first)

    assert (~s2).sum() + (~s1).sum() == num_hidden


@pytest.mark.parametrize(("counts", "sensor"), [((5, 0, 0), 0), ((0, 3, 3), 1)], ids=["s2", "s1"])
def test_the_only_sensor_that_saw_a_dpixel_is_never_hidden(counts, sensor):
    views = draw(full(*counts), modality_dropout=1.0)

    assert is_seen(views.first)[sensor].all()
    assert is_seen(views.second)[sensor].all()


# -- chance


def inclusion_chance(included_BT, length):
    """Return the p-value of equal inclusion; draws without replacement vary a little less."""
    num, num_times = included_BT.shape
    share = length / num_times
    deviation = included_BT.sum(axis=0) - num * share
    square = (deviation**2).sum() / (num * share * (1 - share)) * (num_times - 1) / num_times
    return stats.chi2(num_times - 1).cdf(square)


@pytest.mark.parametrize("key", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("sensor", [0, 1], ids=["s2", "s1"])
def test_every_observation_is_drawn_equally_often(key, sensor):
    views = draw(full(24, 11, 13), key=key)

    for view in (views.first, views.second):
        included = held(view, sensor, 24)
        assert included.max() == 1
        assert FAIR[0] < inclusion_chance(included, 10) < FAIR[1]


@pytest.mark.parametrize("num_observations", [2, 7])
def test_draws_with_replacement_are_uniform(num_observations):
    view = draw(full(num_observations, 1, 0)).first

    counts = held(view, 0, num_observations)
    assert stats.chisquare(counts.sum(axis=0)).pvalue > FAIR[0]
    # Of one d-pixel too: counts vary as those of independent draws do.
    share = 1 / num_observations
    assert counts.var() == pytest.approx(10 * share * (1 - share), rel=0.1)


def test_pairs_of_observations_meet_as_often_as_independent_draws_let_them():
    included = held(draw(full(12, 1, 0), lengths=(4, 1)).first, 0, 12)

    together = [(included[:, a] * included[:, b]).sum() for a, b in combinations(range(12), 2)]

    # 4 of 12 twice: 4 * 3 / (12 * 11) of the d-pixels; a count's deviation is 18.
    assert np.abs(np.array(together) - NUM / 11).max() < 4 * 18


def test_views_sensors_steps_and_positions_draw_independently():
    raw = full(24, 12, 12)
    here, next_key = draw(raw), draw(raw, key=KEY + 1)
    later = draw(raw, position_B=torch.arange(len(raw)) + 1)

    draws = {
        "first s2": held(here.first, 0, 24),
        "second s2": held(here.second, 0, 24),
        "first s1": held(here.first, 1, 24),
        "second s1": held(here.second, 1, 24),
        "next key": held(next_key.first, 0, 24),
        "next neighbour": np.roll(held(here.first, 0, 24), 1, axis=0),
        "far neighbour": np.roll(held(here.first, 0, 24), 256, axis=0),
    }

    assert np.array_equal(held(later.first, 0, 24)[:-1], held(here.first, 0, 24)[1:])
    for one, other in combinations(draws, 2):
        correlation = np.corrcoef(draws[one].ravel(), draws[other].ravel())[0, 1]
        # Fixed sums take one degree of freedom from each d-pixel.
        assert abs(correlation) * np.sqrt(NUM * 23) < 4, f"{one} and {other}"


def test_a_draw_does_not_move_from_release_to_release():
    views = draw(full(30, 9, 9, num=3), lengths=(5, 4), is_disjoint=True, modality_dropout=0.5)

    days = [tokens[..., -1].int().tolist() for tokens in (*views.first, *views.second)]
    assert days == [
        [[8, 9, 11, 20, 23], [1, 2, 9, 21, 25], [5, 9, 25, 26, 27]],
        [[3, 8, 10, 15], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[10, 12, 13, 24, 30], [3, 14, 23, 24, 30], [6, 12, 13, 17, 19]],
        [[0, 0, 0, 0], [1, 6, 14, 15], [4, 13, 15, 17]],
    ]


@pytest.mark.parametrize("bit", [0, 31, 32, 62])
def test_every_bit_of_the_key_counts(bit):
    words, other = stream_words(KEY), stream_words(KEY ^ (1 << bit))

    assert words.shape == (len(Stream), 2)
    assert len(np.unique(np.concatenate([words, other]))) == 4 * len(Stream)


def test_the_key_alone_decides_and_global_chance_is_left_alone():
    raw = full(20, 9, 9, num=50)
    torch.manual_seed(1)
    before, state = draw(raw), torch.get_rng_state()

    torch.manual_seed(2)
    after = draw(raw)

    torch.manual_seed(1)
    assert are_equal(before, after)
    assert torch.equal(torch.get_rng_state(), state)
    assert not are_equal(before, draw(raw, key=KEY + 1))


def test_threads_draw_side_by_side():
    raw = full(20, 9, 9, num=300)
    alone = [draw(raw, key=key) for key in range(8)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda key: draw(raw, key=key), range(8)))

    assert all(map(are_equal, alone, together))


# -- raw batches


def test_raw_pixels_share_the_memory_of_the_batch_they_come_from():
    padded = padded_pixels(make_pixels([3], [2], [2], seed=1))

    raw = RawPixels.from_padded(padded)
    padded.optical.values[0, 0, 0] = 12_345

    assert raw.optical.values[0, 0, 0] == 12_345
    assert len(raw) == len(raw.to("cpu", non_blocking=True)) == 1


def test_a_batch_in_another_memory_order_draws_the_same():
    raw = RawPixels.from_padded(padded_pixels(make_pixels([20] * 4, [9] * 4, [9] * 4, seed=2)))

    def turned(part):
        return RawSeries(
            values=part.values.permute(2, 1, 0).contiguous().permute(2, 1, 0),
            day_of_year=part.day_of_year.T.contiguous().T,
            valid=part.valid.T.contiguous().T,
        )

    other = RawPixels(
        optical=turned(raw.optical),
        ascending=turned(raw.ascending),
        descending=turned(raw.descending),
    )

    assert are_equal(draw(raw, NORMS), draw(other, NORMS))


@pytest.mark.parametrize(
    "change",
    [
        {"lengths": (0, 4)},
        {"modality_dropout": 1.5},
        {"modality_dropout": float("nan")},
        {"key": -1},
        {"key": 2**63},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ConfigError, match=r"expected lengths from 1, dropout 0 to 1"):
        draw(full(2, 1, 1, num=1), **change)


@pytest.mark.parametrize(
    "position", [torch.arange(2), torch.arange(3, dtype=torch.int32), torch.zeros(3, 1).long()]
)
def test_positions_that_do_not_fit_are_refused(position):
    with pytest.raises(RecordError, match=r"expected torch\.int64 of shape \(3,\)"):
        draw(full(2, 1, 1, num=3), position_B=position)


def test_raw_batches_that_disagree_are_refused():
    one, other = full(2, 1, 1, num=3), full(2, 1, 1, num=4)
    optical = one.optical

    with pytest.raises(RecordError, match="same \\(B, T\\) observations"):
        RawSeries(values=optical.values, day_of_year=optical.day_of_year, valid=other.optical.valid)
    with pytest.raises(RecordError, match=r"expected torch\.uint16 and torch\.bool"):
        RawSeries(
            values=optical.values,
            day_of_year=optical.day_of_year.view(torch.int16),
            valid=optical.valid,
        )
    with pytest.raises(RecordError, match=r"\[3, 3, 4\] raw d-pixels"):
        RawPixels(optical=optical, ascending=one.ascending, descending=other.descending)
    with pytest.raises(RecordError, match=r"raw ascending values are torch\.uint16 with 10 bands"):
        RawPixels(optical=optical, ascending=optical, descending=one.descending)
    with pytest.raises(RecordError, match="were several years stored as one d-pixel"):
        full(1, 40_000, 30_000, num=1)


@pytest.mark.gpu
@pytest.mark.parametrize("is_disjoint", [False, True])
def test_a_gpu_draws_the_same_as_the_processor(is_disjoint):
    pixels = make_pixels(range(90), range(90), range(89, -1, -1), seed=3, num_unusable=2)
    raw = RawPixels.from_padded(padded_pixels(pixels))
    changes = {"lengths": (40, 40), "is_disjoint": is_disjoint, "modality_dropout": 0.3}

    here = draw(raw, NORMS, **changes)
    there = draw(
        raw.pin().to("cuda", non_blocking=True),
        NORMS,
        position_B=torch.arange(90).cuda(),
        **changes,
    )

    for one, other in zip(tensors(here), tensors(there), strict=True):
        assert torch.equal(one, other.cpu())
