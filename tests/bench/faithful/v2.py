"""v2 students: every valid observation, pixels grouped by length, tokens built batch by batch.

Shapes: B pixels of a batch, T dates, L bucket, H rows, W columns, D representation.
"""

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tests.bench.faithful.tiles import V2, Array, Norms, Tile, bucket_of

BATCH_SIZE = 4096


def resample(num_valid: int, length: int) -> npt.NDArray[np.int64]:
    """Return which of ``num_valid`` >= 1 observations fill a bucket, (L,).

    Too many: an even grid, floored. Too few: all, then the middles of equal chunks, or a cycle
    where more than ``num_valid`` lack.
    """
    if num_valid > length:
        return np.linspace(0, num_valid - 1, length).astype(np.int64)
    everything = np.arange(num_valid)
    num_lacking = length - num_valid
    if num_lacking == 0:
        return everything
    if num_lacking <= num_valid:
        chunks = np.array_split(everything, num_lacking)
        extras = np.array([chunk[len(chunk) // 2] for chunk in chunks])
    else:
        extras = np.arange(num_lacking) % num_valid
    return np.concatenate([everything, extras])


def tokens(
    values: Array, days: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_], bucket: int
) -> Tensor:
    """Return (B, L, C + 1) of standardised (B, T, C), days (T,) and valid (B, T).

    Bucket 0, nothing valid, gives one row of zeros.
    """
    num, _, channels = values.shape
    if bucket == 0:
        return torch.zeros(num, 1, channels + 1)
    result = np.empty((num, bucket, channels + 1), np.float32)
    patterns: dict[int, npt.NDArray[np.int64]] = {}
    for pixel in range(num):
        rows = np.nonzero(valid[pixel])[0]
        if len(rows) not in patterns:
            patterns[len(rows)] = resample(len(rows), bucket)
        chosen = rows[patterns[len(rows)]]
        result[pixel, :, :-1] = values[pixel, chosen]
        result[pixel, :, -1] = days[chosen]
    return torch.from_numpy(result)


def grouped(num_s2: npt.NDArray[np.int64], num_s1: npt.NDArray[np.int64]) -> dict:
    """Return rows and columns of the pixels of every key; pixels without any data are in none."""
    groups = defaultdict(list)
    for pixel in np.ndindex(num_s2.shape):
        n, m = int(num_s2[pixel]), int(num_s1[pixel])
        if n or m:
            groups[bucket_of(n) if n else 0, bucket_of(m) if m else 0].append(pixel)
    return {key: np.array(pixels) for key, pixels in groups.items()}


@torch.no_grad()
def encode_tile(
    model: nn.Module,
    tile: Tile,
    *,
    norms: Norms = V2,
    batch_size: int = BATCH_SIZE,
    device: str = "cpu",
) -> Array:
    """Return (H, W, D); NaN where a pixel has no data (the release leaves these undefined)."""
    model.eval()
    clear = tile.masks == 1
    radar = np.concatenate([tile.sar_ascending, tile.sar_descending])
    radar_valid = (radar != 0).any(axis=-1)
    radar_days = np.concatenate([tile.sar_ascending_doy, tile.sar_descending_doy])
    num_ascending = len(tile.sar_ascending)
    embedding = np.full((*tile.shape, model.representation_dim), np.nan, np.float32)
    groups = grouped(clear.sum(axis=0), radar_valid.sum(axis=0))
    for (s2_bucket, s1_bucket), pixels in groups.items():
        for start in range(0, len(pixels), batch_size):
            rows, columns = pixels[start : start + batch_size].T
            s2 = tokens(
                norms.s2.apply(tile.bands[:, rows, columns].swapaxes(0, 1)),
                tile.doys,
                clear[:, rows, columns].T,
                s2_bucket,
            )
            series = radar[:, rows, columns].swapaxes(0, 1)
            standardised = np.concatenate(
                [
                    norms.ascending.apply(series[:, :num_ascending]),
                    norms.descending.apply(series[:, num_ascending:]),
                ],
                axis=1,
            )
            s1 = tokens(standardised, radar_days, radar_valid[:, rows, columns].T, s1_bucket)
            embedding[rows, columns] = model(s2.to(device), s1.to(device)).cpu().numpy()
    return embedding
