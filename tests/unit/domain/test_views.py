"""Views: what training draws, and the fixed positions that inference uses instead."""

import numpy as np
import pytest

from tessera_core.domain.views import (
    bucket_length,
    draw_view,
    v2_bucket_positions,
    view_overlap,
)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_with_just_enough_observations_the_view_is_all_of_them():
    valid = np.array([[False, True, True, False, True]])

    assert draw_view(valid, 3, rng()).tolist() == [[1, 2, 4]]


def test_one_observation_fills_a_view_by_repetition():
    valid = np.array([[False, False, True]])

    assert draw_view(valid, 4, rng()).tolist() == [[2, 2, 2, 2]]


def test_a_pixel_without_observations_gets_index_0_and_disturbs_no_other():
    valid = np.array([[False, False], [False, True]])

    assert draw_view(valid, 2, rng()).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("num_pixels", [0, 3])
def test_a_batch_without_any_time_gives_zeros(num_pixels):
    view = draw_view(np.zeros((num_pixels, 0), np.bool_), 5, rng())

    assert view.tolist() == [[0] * 5] * num_pixels


def test_the_same_generator_draws_the_same_view_and_the_next_draw_differs():
    valid = np.ones((8, 40), np.bool_)
    first_rng, second_rng = rng(3), rng(3)

    first, second = draw_view(valid, 16, first_rng), draw_view(valid, 16, second_rng)

    assert np.array_equal(first, second)
    assert not np.array_equal(first, draw_view(valid, 16, first_rng))


def test_every_valid_observation_is_drawn_about_equally_often():
    valid = np.tile(np.arange(10) != 4, (20_000, 1))

    counts = np.bincount(draw_view(valid, 3, rng(5)).ravel(), minlength=10)

    assert counts[4] == 0
    # 20,000 draws of 3 out of 9; the deviation of a count is 67.
    assert np.abs(counts[np.arange(10) != 4] - 20_000 / 3).max() < 300


@pytest.mark.parametrize(
    ("num_valid", "bucket"),
    [(0, 0), (1, 8), (8, 8), (9, 16), (248, 248), (249, 256), (256, 256), (257, 256), (600, 256)],
)
def test_a_bucket_is_the_next_multiple_of_8_up_to_256(num_valid, bucket):
    assert bucket_length(np.array([num_valid])).tolist() == [bucket]


def test_too_many_observations_are_thinned_evenly_and_too_few_repeated_at_the_end():
    assert v2_bucket_positions(10, 4).tolist() == [0, 3, 6, 9]
    assert v2_bucket_positions(5, 8).tolist() == [0, 1, 2, 3, 4, 1, 3, 4]
    assert v2_bucket_positions(3, 8).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert v2_bucket_positions(0, 8).tolist() == []


def test_overlap_is_the_share_of_equal_positions():
    first, second = np.array([[0, 1], [2, 3]]), np.array([[0, 2], [2, 3]])

    assert view_overlap(first, second) == 0.75


def test_buckets_equal_the_reference_for_0_to_600_observations(shared_data):
    golden = np.load(shared_data / "parity" / "sampling.npz")

    assert np.array_equal(bucket_length(golden["bin_of_n.n"]), golden["v2.bin_of_n"])


def test_positions_equal_the_reference_at_every_length(shared_data):
    golden = np.load(shared_data / "parity" / "sampling.npz")
    patterns = [name for name in golden.files if name.startswith("v2.pattern.n")]

    assert len(patterns) == 12 * 7
    for name in patterns:
        num_valid, _, length = name.removeprefix("v2.pattern.n").partition("_to")
        bucket = int(length) if length else int(bucket_length(np.array([int(num_valid)]))[0])
        assert np.array_equal(v2_bucket_positions(int(num_valid), bucket), golden[name]), name


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
            positions = v2_bucket_positions(len(times), len(expected))
            assert np.array_equal(times[positions], expected), case
