"""Which observations a released model sees: three rules, none to be taken for another."""

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.domain.sampling import (
    V1_0_SAMPLING,
    V1_1_SAMPLING,
    V2_SAMPLING,
    Rule,
    Sampling,
    observation_keys,
    v1_0_positions,
    v1_1_positions,
    v2_positions,
)
from tessera_core.errors import RecordError


def v1_1_of(num_usable, length):
    return v1_1_positions(np.array([num_usable]), length)[0]


def v2_of(num_usable, length):
    return v2_positions(np.array([num_usable]), length)[0]


def keys(num_pixels, num_times, seed=1):
    content = np.arange(num_pixels * num_times, dtype=np.uint64).reshape(num_pixels, num_times)
    return observation_keys(content, seed)


def drawn(num_usable, length, num_pixels=1, seed=1):
    """Positions drawn for equal d-pixels of ``num_usable`` observations."""
    counts = np.full(num_pixels, num_usable)
    return v1_0_positions(keys(num_pixels, num_usable, seed), counts, length)


@pytest.mark.parametrize(
    ("num_valid", "bucket"),
    [(0, 0), (1, 8), (8, 8), (9, 16), (248, 248), (249, 256), (256, 256), (257, 256), (600, 256)],
)
def test_a_bucket_is_the_next_multiple_of_8_up_to_256(num_valid, bucket):
    assert V2_SAMPLING.lengths_of(np.array([num_valid])).tolist() == [bucket]


def test_too_many_observations_are_thinned_evenly_and_too_few_repeated_at_the_end():
    assert v2_of(10, 4).tolist() == [0, 3, 6, 9]
    assert v2_of(5, 8).tolist() == [0, 1, 2, 3, 4, 1, 3, 4]
    assert v2_of(3, 8).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_buckets_equal_the_reference_for_0_to_600_observations(shared_data):
    golden = np.load(shared_data / "parity" / "sampling.npz")

    assert np.array_equal(V2_SAMPLING.lengths_of(golden["bin_of_n.n"]), golden["v2.bin_of_n"])


def test_positions_equal_the_reference_at_every_length(shared_data):
    golden = np.load(shared_data / "parity" / "sampling.npz")
    patterns = [name for name in golden.files if name.startswith("v2.pattern.n")]

    assert len(patterns) == 12 * 7
    for name in patterns:
        num_valid, _, length = name.removeprefix("v2.pattern.n").partition("_to")
        bucket = (
            int(length) if length else int(V2_SAMPLING.lengths_of(np.array([int(num_valid)]))[0])
        )
        assert np.array_equal(v2_of(int(num_valid), bucket), golden[name]), name


def test_times_taken_from_a_mask_equal_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "sampling.npz")
    cases = [name.removeprefix("v2.valid.") for name in golden.files if "v2.valid." in name]

    assert len(cases) == 14
    for case in cases:
        for valid, expected in zip(
            golden[f"v2.valid.{case}"], golden[f"v2.source.{case}"], strict=True
        ):
            times = np.flatnonzero(valid)
            if not len(times):
                continue  # the reference shows one zero token, which is not an observation
            positions = v2_of(len(times), len(expected))
            assert np.array_equal(times[positions], expected), case


def test_v1_1_thins_to_the_middles_of_chunks_and_repeats_evenly_spaced_ones_behind_the_rest():
    assert v1_1_of(10, 4).tolist() == [1, 4, 7, 9]
    assert v1_1_of(5, 8).tolist() == [0, 1, 2, 3, 4, 1, 2, 3]
    assert v1_1_of(1, 8).tolist() == [0] * 8


def test_v1_1_positions_equal_the_reference_at_every_length(shared_data):
    golden = np.load(shared_data / "parity" / "sampling.npz")
    patterns = [name for name in golden.files if name.startswith("v1_1.index.n")]

    checked = 0
    for name in patterns:
        num_usable, _, length = name.removeprefix("v1_1.index.n").partition("_to")
        if num_usable == "0":
            continue  # zeros stand in: there is no observation to name
        lengths = V1_1_SAMPLING.lengths_of(np.array([int(num_usable)]))
        bucket = int(length) if length else int(lengths[0])
        assert np.array_equal(v1_1_of(int(num_usable), bucket), golden[name]), name
        checked += 1
    assert checked == 12 * 7


def test_v1_1_buckets_equal_the_reference_also_where_they_are_coarse(shared_data):
    golden = np.load(shared_data / "parity" / "sampling.npz")
    coarse = replace(V1_1_SAMPLING, lengths=tuple(int(b) for b in golden["v1_1.coarse_bins"]))

    counts = golden["bin_of_n.n"]

    assert np.array_equal(V1_1_SAMPLING.lengths_of(counts), golden["v1_1.bin_of_n"])
    assert np.array_equal(coarse.lengths_of(counts), golden["v1_1.bin_of_n_coarse"])


@pytest.mark.parametrize(("num_usable", "length"), [(5, 8), (20, 24), (300, 256)])
def test_the_v1_1_and_v2_rules_are_not_the_same(num_usable, length):
    assert v1_1_of(num_usable, length).tolist() != v2_of(num_usable, length).tolist()


def test_without_any_observation_v1_1_gives_its_smallest_bucket_and_v2_none():
    nothing = np.array([0])

    assert V1_1_SAMPLING.lengths_of(nothing).tolist() == [8]
    assert V2_SAMPLING.lengths_of(nothing).tolist() == [0]
    assert V1_0_SAMPLING.lengths_of(nothing).tolist() == [40]


def test_a_draw_without_need_of_repetition_names_each_observation_at_most_once_in_order():
    positions = drawn(num_usable=60, length=40, num_pixels=50)

    assert positions.shape == (50, 40)
    assert (np.diff(positions, axis=1) > 0).all()
    assert positions.max() < 60


def test_a_draw_from_too_few_repeats_them_in_order():
    positions = drawn(num_usable=7, length=40, num_pixels=50)

    assert (np.diff(positions, axis=1) >= 0).all()
    assert set(positions.ravel()) == set(range(7))


def test_just_enough_observations_are_all_drawn():
    assert drawn(num_usable=40, length=40).tolist() == [list(range(40))]


@pytest.mark.parametrize("num_usable", [9, 20])
def test_every_observation_is_drawn_about_equally_often(num_usable):
    counts = np.bincount(drawn(num_usable, 10, num_pixels=20_000).ravel(), minlength=num_usable)

    expected = 200_000 / num_usable
    # Binomial or hypergeometric: below 0.5 % at five deviations for both.
    assert np.abs(counts / expected - 1).max() < 0.05


def test_the_seed_decides_a_draw_and_another_seed_gives_another():
    first, again, other = (drawn(60, 40, 20, seed) for seed in (3, 3, 4))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_two_seeds_side_by_side_draw_independently():
    first, second = drawn(400, 40, 2000, seed=1), drawn(400, 40, 2000, seed=2)

    shared = [len(np.intersect1d(one, two)) for one, two in zip(first, second, strict=True)]

    # 40 of 400 twice share 4 on average.
    assert abs(np.mean(shared) - 4) < 0.2


def test_a_dpixel_draws_the_same_whatever_its_neighbours():
    few, many = keys(1, 60), keys(1, 60)
    longer = np.full((3, 90), np.iinfo(np.uint64).max)
    longer[1, :60] = many[0]
    longer[[0, 2]] = keys(2, 90, seed=9)

    alone = v1_0_positions(few, np.array([60]), 40)
    among = v1_0_positions(longer, np.array([90, 60, 90]), 40)

    assert np.array_equal(alone[0], among[1])


@pytest.mark.parametrize(
    ("rule", "lengths", "message"),
    [
        (Rule.V2_BUCKETS, (), "rising lengths above 0"),
        (Rule.V2_BUCKETS, (8, 8), "rising lengths above 0"),
        (Rule.V2_BUCKETS, (0, 8), "rising lengths above 0"),
        (Rule.V1_0_SPARSE_RANDOM, (20, 40), "has one length"),
    ],
)
def test_lengths_that_are_none_are_refused(rule, lengths, message):
    with pytest.raises(RecordError, match=message):
        Sampling(rule=rule, lengths=lengths)


def test_a_rule_reads_back_as_it_was_written():
    for sampling in (V1_0_SAMPLING, V1_1_SAMPLING, V2_SAMPLING):
        assert Sampling.from_dict(sampling.to_dict()) == sampling


@pytest.mark.parametrize("stored", [{}, {"rule": "v3", "lengths": [8]}, {"rule": "v2-buckets"}])
def test_something_else_is_no_rule(stored):
    with pytest.raises(RecordError, match="no sampling rule"):
        Sampling.from_dict(stored)
