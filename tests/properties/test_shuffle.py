"""Shuffling: for every set of tiles, shares and seed."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tessera_core.records.samples import list_tiles, pixels_of, read_table, read_tile
from tessera_core.records.schema import SHARD
from tessera_core.shuffle.assignment import SPLITS, assign_splits, shuffled_rows
from tessera_core.shuffle.write import load_rows, write_shards
from tessera_core.testing.observations import pixels_as_lists
from tessera_core.testing.samples import write_samples
from tessera_core.testing.strategies import SEEDS
from tessera_core.testing.tiles import make_grid, make_tile

SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.4])
BLOCKS = st.lists(st.integers(-5, 20), min_size=1, max_size=80).map(np.array)


@given(blocks=BLOCKS, val_share=SHARES, test_share=SHARES, seed=SEEDS)
def test_blocks_are_whole_and_every_share_is_served(blocks, val_share, test_share, seed):
    num_blocks = len(np.unique(blocks))
    wanted = [
        max(1, round(share * num_blocks)) if share else 0 for share in (val_share, test_share)
    ]
    assume(sum(wanted) < num_blocks)

    split = assign_splits(blocks, val_share=val_share, test_share=test_share, seed=seed)

    members = [set(blocks[split == index].tolist()) for index in range(3)]
    assert [len(blocks_of) for blocks_of in members] == [num_blocks - sum(wanted), *wanted]
    assert len(set.union(*members)) == num_blocks


@given(
    rows=st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.booleans()), max_size=100), seed=SEEDS
)
def test_the_order_of_all_splits_together_is_a_permutation_of_what_is_kept(rows, seed):
    split = np.array([index for index, _ in rows], np.int8)
    keep = np.array([flag for _, flag in rows], np.bool_)

    orders = shuffled_rows(split, keep, seed=seed)

    joined = np.concatenate([orders[name] for name in SPLITS])
    assert sorted(joined) == np.flatnonzero(keep).tolist()
    for index, name in enumerate(SPLITS):
        assert (split[orders[name]] == index).all()


@settings(max_examples=25)
@given(seed=SEEDS, rows_per_shard=st.integers(1, 13), num_rows=st.integers(0, 24))
def test_shards_hold_the_rows_asked_for_in_that_order(seed, rows_per_shard, num_rows):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grids = make_grid(width=4, height=3), make_grid(epsg=32632, width=3, height=4)
        write_samples(
            folder,
            [
                make_tile(
                    name=f"tile-{i}", grid=grid, seed=seed + i, num_s2=1 + i, num_descending=i
                )
                for i, grid in enumerate(grids)
            ],
        )
        folders = list_tiles(folder)
        rows = load_rows(folders, [read_tile(tile) for tile in folders], block_size_m=20)
        order = np.random.default_rng(seed).permutation(24)[:num_rows]

        names = write_shards(rows, order, "train", rows_per_shard, folder)

        shards = [read_table(folder / name, SHARD) for name in names]
        stored = [pixel for shard in shards for pixel in pixels_as_lists(pixels_of(shard))]
        lists = pixels_as_lists(pixels_of(rows))
        assert stored == [lists[row] for row in order]
        assert Counter(map(str, stored)) == Counter(str(lists[row]) for row in order)
        assert all(0 < shard.num_rows <= rows_per_shard for shard in shards)
