"""Views: what training draws."""

import numpy as np
import pytest

from tessera_core.domain.views import draw_view, view_overlap


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


def test_overlap_is_the_share_of_equal_positions():
    first, second = np.array([[0, 1], [2, 3]]), np.array([[0, 2], [2, 3]])

    assert view_overlap(first, second) == 0.75
