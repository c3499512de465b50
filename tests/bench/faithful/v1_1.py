"""v1.1: every valid observation, pixels grouped by length, each pixel's tokens built by itself.

The release also switches two attention kernels off, which is left out here: in eval mode on a
CPU torch's encoder layers use neither.

Shapes: B pixels of a batch, T dates, L bucket, H rows, W columns, D representation.
"""

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.bench.faithful.tiles import V1_1_MPC, Array, Norms, Tile, bucket_of

BATCH_SIZE = 1024


def resample(num_valid: int, length: int) -> npt.NDArray[np.int64]:
    """Return which of ``num_valid`` >= 1 observations fill a bucket, (L,).

    Too many: the middle of each of L chunks. Too few: all, then rounded points of an even grid
    between the first and the last, appended at the end.
    """
    if num_valid > length:
        chunks = np.array_split(np.arange(num_valid), length)
        return np.array([chunk[len(chunk) // 2] for chunk in chunks])
    extras = np.linspace(0, num_valid - 1, length - num_valid + 2)[1:-1]
    return np.concatenate([np.arange(num_valid), np.rint(extras).astype(np.int64)])


class BucketDataset(Dataset[tuple[Tensor, Tensor]]):
    """Every pixel of a tile, with its key (length for Sentinel-2, length for Sentinel-1)."""

    def __init__(self, tile: Tile, norms: Norms) -> None:
        self.tile = tile
        self.norms = norms
        self.clear = tile.masks == 1
        self.ascending = (tile.sar_ascending != 0).any(axis=-1)
        self.descending = (tile.sar_descending != 0).any(axis=-1)
        num_s2 = self.clear.sum(axis=0)
        num_s1 = self.ascending.sum(axis=0) + self.descending.sum(axis=0)
        self.pixels = [(row, column) for row, column in np.ndindex(tile.shape)]
        self.keys = [(bucket_of(num_s2[pixel]), bucket_of(num_s1[pixel])) for pixel in self.pixels]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the tokens of one pixel, (L, 11) and (L', 3)."""
        row, column = self.pixels[index]
        s2_length, s1_length = self.keys[index]
        tile, norms = self.tile, self.norms
        s2 = _tokens(
            tile.bands[:, row, column], tile.doys, self.clear[:, row, column], norms.s2.apply
        )
        ascending = _tokens(
            tile.sar_ascending[:, row, column],
            tile.sar_ascending_doy,
            self.ascending[:, row, column],
            norms.ascending.apply,
        )
        descending = _tokens(
            tile.sar_descending[:, row, column],
            tile.sar_descending_doy,
            self.descending[:, row, column],
            norms.descending.apply,
        )
        s1 = np.concatenate([ascending, descending])
        return torch.from_numpy(_fill(s2, s2_length)), torch.from_numpy(_fill(s1, s1_length))


def _tokens(values, days, valid, standardise) -> Array:
    """Return the valid rows, standardised, with the day of year in the last column."""
    rows = np.nonzero(valid)[0]
    return np.column_stack([standardise(values[rows]), days[rows].astype(np.float32)])


def _fill(tokens: Array, length: int) -> Array:
    if len(tokens) == 0:
        return np.zeros((length, tokens.shape[1]), np.float32)
    return tokens[resample(len(tokens), length)]


def grouped(keys: list[tuple[int, int]]) -> dict[tuple[int, int], list[int]]:
    """Return the pixels of every key."""
    groups = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    return dict(groups)


@torch.no_grad()
def encode_tile(
    model: nn.Module,
    tile: Tile,
    *,
    norms: Norms = V1_1_MPC,
    batch_size: int = BATCH_SIZE,
    device: str = "cpu",
) -> Array:
    """Return (H, W, D), uncut; a pixel without any data is encoded too, from zeros."""
    model.eval()
    dataset = BucketDataset(tile, norms)
    embedding = np.zeros((len(dataset), model.representation_dim), np.float32)
    for indices in grouped(dataset.keys).values():
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            pairs = [dataset[index] for index in chosen]
            s2 = torch.stack([s2 for s2, _ in pairs]).to(device)
            s1 = torch.stack([s1 for _, s1 in pairs]).to(device)
            embedding[chosen] = model(s2, s1).cpu().numpy()
    return embedding.reshape(*tile.shape, -1)
