"""The plan: whole blocks to one split, and one order over all tiles."""

import numpy as np
import pytest

from tessera_core.errors import InputError
from tessera_core.shuffle.assignment import SPLITS, assign_splits, shuffled_rows

TRAIN, VAL, TEST = range(3)
BLOCKS = np.repeat(np.arange(100, 120), 5)
"""Twenty blocks of five d-pixels."""


def splits(blocks=BLOCKS, **changes) -> np.ndarray:
    settings = {"val_share": 0.2, "test_share": 0.1, "seed": 7}
    return assign_splits(blocks, **{**settings, **changes})


def num_blocks(split: np.ndarray, index: int, blocks=BLOCKS) -> int:
    return len(np.unique(blocks[split == index]))


def test_shares_are_shares_of_blocks():
    split = splits()

    assert [num_blocks(split, index) for index in (TRAIN, VAL, TEST)] == [14, 4, 2]


def test_a_block_goes_whole_to_one_split():
    split = splits()

    for block in np.unique(BLOCKS):
        members = split[np.isin(BLOCKS, block)]
        assert len(set(members)) == 1


def test_a_block_is_whole_also_where_its_pixels_lie_far_apart_in_the_table():
    order = np.random.default_rng(1).permutation(len(BLOCKS))

    assert np.array_equal(splits(BLOCKS[order]), splits()[order])


def test_a_small_share_still_gets_a_block():
    split = splits(val_share=0.001, test_share=0.001)

    assert [num_blocks(split, index) for index in (TRAIN, VAL, TEST)] == [18, 1, 1]


def test_a_share_of_0_gets_none():
    split = splits(val_share=0.0, test_share=0.0)

    assert set(split.tolist()) == {TRAIN}


def test_the_seed_chooses_the_blocks():
    assert np.array_equal(splits(seed=1), splits(seed=1))
    assert not np.array_equal(splits(seed=1), splits(seed=2))


@pytest.mark.parametrize(
    ("num", "val_share", "test_share"), [(2, 0.1, 0.1), (1, 0.1, 0.0), (10, 0.5, 0.49), (0, 0, 0)]
)
def test_too_few_blocks_are_refused_with_what_to_change(num, val_share, test_share):
    with pytest.raises(
        InputError, match=rf"{num} spatial blocks cannot give .* lower shuffle\.block_size_m or add"
    ):
        splits(np.arange(num), val_share=val_share, test_share=test_share)


def test_three_blocks_are_enough_for_three_splits():
    split = splits(np.arange(3))

    assert sorted(split.tolist()) == [TRAIN, VAL, TEST]


def test_every_kept_row_is_in_its_split_once():
    split = splits()
    keep = np.arange(len(split)) % 7 != 0

    rows = shuffled_rows(split, keep, seed=3)

    assert tuple(rows) == SPLITS
    for index, name in enumerate(SPLITS):
        assert sorted(rows[name]) == np.flatnonzero(keep & (split == index)).tolist()


def test_the_order_is_neither_that_of_the_tiles_nor_the_same_for_another_seed():
    split, keep = np.zeros(200, np.int8), np.ones(200, np.bool_)

    first, again, other = (shuffled_rows(split, keep, seed=s)["train"] for s in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # Two tiles of 100 rows each: any twenty rows in a row come from both.
    from_first_tile = np.lib.stride_tricks.sliding_window_view(first < 100, 20).sum(axis=1)
    assert 1 <= from_first_tile.min() <= from_first_tile.max() <= 19
