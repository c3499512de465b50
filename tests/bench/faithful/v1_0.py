"""v1.0: every pixel through a map-style data set, 40 random dates per sensor, pass by pass.

Shapes: B pixels of a batch, T dates, K = 40 drawn, H rows, W columns, D representation.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.bench.faithful.tiles import V1_0, Array, Norms, Stats, Tile

NUM_DRAWN = 40
BATCH_SIZE = 1024
EMPTY_ORBIT_DAY = 180


class PixelDataset(Dataset[dict[str, Any]]):
    """The raw series of every pixel that has some Sentinel-2 value and enough observations."""

    def __init__(self, tile: Tile, min_valid: int = 0) -> None:
        self.tile = tile
        self.ascending = _filled(tile.sar_ascending, tile.sar_ascending_doy)
        self.descending = _filled(tile.sar_descending, tile.sar_descending_doy)
        no_radar = len(tile.sar_ascending) == 0 and len(tile.sar_descending) == 0
        height, width = tile.shape
        self.pixels: list[tuple[int, int]] = []
        for row in range(height):
            for column in range(width):
                if not tile.bands[:, row, column].any():
                    continue
                num_s2 = tile.masks[:, row, column].sum()
                num_s1 = sum(
                    orbit[:, row, column].any(axis=-1).sum()
                    for orbit, _ in (self.ascending, self.descending)
                )
                if num_s2 >= min_valid and (no_radar or num_s1 >= min_valid):
                    self.pixels.append((row, column))

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row, column = self.pixels[index]
        (ascending, ascending_days), (descending, descending_days) = self.ascending, self.descending
        return {
            "row": row,
            "column": column,
            "bands": self.tile.bands[:, row, column],
            "mask": self.tile.masks[:, row, column],
            "days": self.tile.doys,
            "ascending": ascending[:, row, column],
            "ascending_days": ascending_days,
            "descending": descending[:, row, column],
            "descending_days": descending_days,
        }


def _filled(
    values: npt.NDArray[np.int16], days: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Give an orbit without a date one row of zeros."""
    if len(values):
        return values, days
    return np.zeros((1, *values.shape[1:]), np.int16), np.array([EMPTY_ORBIT_DAY], np.int16)


def draw(valid: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw K of the valid among (T,), with replacement where they are fewer; (K,) ascending.

    Where nothing is valid, everything is.
    """
    candidates = np.nonzero(valid)[0]
    if len(candidates) == 0:
        candidates = np.arange(len(valid))
    chosen = rng.choice(candidates, NUM_DRAWN, replace=len(candidates) < NUM_DRAWN)
    return np.sort(chosen)


def sample_s2(batch: dict[str, Any], norms: Norms, rng: np.random.Generator) -> Array:
    """Return (B, K, 11), a draw for every pixel of the batch."""
    bands, masks, days = (batch[name].numpy() for name in ("bands", "mask", "days"))
    return _sample(bands, days, masks == 1, norms.s2, rng)


def sample_s1(batch: dict[str, Any], norms: Norms, rng: np.random.Generator) -> Array:
    """Return (B, K, 3): ascending dates first, then descending; one set of statistics."""
    values = np.concatenate([batch["ascending"].numpy(), batch["descending"].numpy()], axis=1)
    days = np.concatenate(
        [batch["ascending_days"].numpy(), batch["descending_days"].numpy()], axis=1
    )
    return _sample(values, days, (values != 0).any(axis=-1), norms.ascending, rng)


def _sample(values, days, valid, stats: Stats, rng: np.random.Generator) -> Array:
    """Draw from (B, T, C), (B, T) and (B, T), pixel by pixel; standardise the batch."""
    drawn_values, drawn_days = [], []
    for pixel in range(len(values)):
        chosen = draw(valid[pixel], rng)
        drawn_values.append(values[pixel, chosen])
        drawn_days.append(days[pixel, chosen])
    standardised = stats.apply(np.stack(drawn_values))
    return np.concatenate(
        [standardised, np.stack(drawn_days)[..., None].astype(np.float32)], axis=-1
    )


@torch.no_grad()
def encode_tile(
    model: nn.Module,
    tile: Tile,
    *,
    norms: Norms = V1_0,
    repeats: int = 1,
    batch_size: int = BATCH_SIZE,
    min_valid: int = 0,
    seed: int = 0,
    device: str = "cpu",
) -> Array:
    """Return (H, W, D); zeros where a pixel was left out.

    Args:
        repeats: Draws whose embeddings are averaged; the release makes 1.
        seed: Of the draws; the release sets none.
        device: Where the model is.
    """
    model.eval()
    rng = np.random.default_rng(seed)
    loader = DataLoader(PixelDataset(tile, min_valid), batch_size=batch_size, num_workers=0)
    embedding = np.zeros((*tile.shape, model.representation_dim), np.float32)
    for batch in loader:
        total = None
        for _ in range(repeats):
            s2 = torch.from_numpy(sample_s2(batch, norms, rng)).to(device)
            s1 = torch.from_numpy(sample_s1(batch, norms, rng)).to(device)
            output = model(s2, s1)
            total = output if total is None else total + output
        embedding[batch["row"].numpy(), batch["column"].numpy()] = (total / repeats).cpu().numpy()
    return embedding
