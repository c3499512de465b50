"""Which d-pixel goes to which split, and in which order."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError

SPLITS: Final = ("train", "val", "test")


def assign_splits(
    blocks: npt.NDArray[np.int64], *, val_share: float, test_share: float, seed: int
) -> npt.NDArray[np.int8]:
    """Return the split of each d-pixel, an index into ``SPLITS``; whole blocks stay together.

    A share above 0 gets at least one block.

    Args:
        blocks: (N,) block id of each d-pixel.
        val_share: Share of blocks, 0..1.
        test_share: Share of blocks, 0..1.
        seed: Chooses the blocks.

    Raises:
        InputError: There are too few blocks to fill every split.
    """
    unique, inverse = np.unique(blocks, return_inverse=True)
    num_val = _num_blocks(val_share, len(unique))
    num_test = _num_blocks(test_share, len(unique))
    if num_val + num_test >= len(unique):
        raise InputError(
            f"{len(unique)} spatial blocks cannot give {num_val} to val, {num_test} to test and "
            "one to train; lower shuffle.block_size_m or add tiles"
        )
    split_of_block = np.zeros(len(unique), np.int8)
    order = np.random.default_rng(seed).permutation(len(unique))
    split_of_block[order[:num_val]] = SPLITS.index("val")
    split_of_block[order[num_val : num_val + num_test]] = SPLITS.index("test")
    return split_of_block[inverse]


def shuffled_rows(
    split: npt.NDArray[np.int8], keep: npt.NDArray[np.bool_], *, seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the kept d-pixels of each split in one seeded permutation over all tiles."""
    order = np.random.default_rng([seed, 1]).permutation(len(split))
    order = order[keep[order]]
    return {name: order[split[order] == index] for index, name in enumerate(SPLITS)}


def _num_blocks(share: float, num_blocks: int) -> int:
    return max(1, round(share * num_blocks)) if share > 0 else 0
