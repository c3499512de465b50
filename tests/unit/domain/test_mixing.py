"""Mixing: the mean number of tiles in a batch, in closed form and by drawing."""

import numpy as np
import pytest

from tessera_core.domain.mixing import expected_distinct, num_distinct
from tessera_core.errors import InputError


def test_a_batch_of_one_has_one_tile():
    assert expected_distinct(np.array([3, 5, 900]), 1) == pytest.approx(1, rel=1e-12)


def test_two_draws_from_two_equal_tiles_have_one_and_a_half():
    assert expected_distinct(np.array([40, 40]), 2) == pytest.approx(1.5, rel=1e-12)


def test_a_large_batch_has_all_tiles_but_those_without_dpixels():
    assert expected_distinct(np.array([10, 0, 20]), 10_000) == pytest.approx(2, rel=1e-12)


def test_an_empty_batch_has_no_tile():
    assert expected_distinct(np.array([1, 2]), 0) == 0


def test_drawing_agrees_with_the_closed_form():
    counts = np.array([5, 50, 500, 1000])
    tiles = np.repeat(np.arange(4, dtype=np.int32), counts)
    draws = np.random.default_rng(4).choice(tiles, (4000, 64))

    mean = np.mean([num_distinct(tile_B) for tile_B in draws])

    # Each draw has 1 to 4 tiles, with a deviation below 0.6: four standard errors are 0.04.
    assert mean == pytest.approx(expected_distinct(counts, 64), abs=0.04)


def test_an_order_by_tile_has_fewer_tiles_than_a_global_shuffle():
    tiles = np.repeat(np.arange(20, dtype=np.int32), 100)
    shuffled = np.random.default_rng(0).permutation(tiles)
    expected = expected_distinct(np.bincount(tiles), 50)

    assert num_distinct(tiles[:50]) == 1
    assert num_distinct(shuffled[:50]) > expected - 3 > 10


@pytest.mark.parametrize(("counts", "size"), [([0, 0], 3), ([4, -1], 3), ([4], -1)])
def test_impossible_numbers_are_refused(counts, size):
    with pytest.raises(InputError, match="expected at least one d-pixel and no negative number"):
        expected_distinct(np.array(counts), size)


def test_tiles_of_a_batch_are_counted_once():
    assert num_distinct(np.array([4, 4, 0, 4], np.int32)) == 2
    assert num_distinct(np.zeros(0, np.int32)) == 0
