"""The field's loader: frozen views in files, read sample by sample (method.md 4.7).

Shapes: N samples of a file, K observations per view.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

VIEWS = ("aug1", "aug2")
CHANNELS = {"s2": 11, "s1": 3}
PLACES = {f"{view}/{sensor}": num for view in VIEWS for sensor, num in CHANNELS.items()}
"""Folders, and the channels of what is in them, day of year included."""

Array = npt.NDArray[np.float32]
Sample = dict[str, Tensor]


def write_views(folder: Path, file: str, views: dict[str, Array]) -> None:
    """Write (N, K, channels) arrays, one per "aug1/s2" and so on, below their folders."""
    for place, values in views.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        np.save(folder / place / file, values)


class FrozenViews(IterableDataset[Sample]):
    """Samples in the order of their files, which are shuffled; nothing else is."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed

    def __iter__(self) -> Iterator[Sample]:
        files = sorted(path.name for path in (self.folder / next(iter(PLACES))).glob("*.npy"))
        for index in np.random.default_rng(self.seed).permutation(len(files)):
            arrays = {place: np.load(self.folder / place / files[index]) for place in PLACES}
            for row in range(len(next(iter(arrays.values())))):
                yield {
                    place: torch.tensor(values[row], dtype=torch.float32)
                    for place, values in arrays.items()
                }


def build_loader(folder: Path, batch_size: int, seed: int) -> DataLoader[Sample]:
    """Return full batches, stacked by torch's default collation, in this process."""
    return DataLoader(FrozenViews(folder, seed), batch_size=batch_size, drop_last=True)


def views_of(batch: Sample) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return S2 and S1 of the first view, and of the second."""
    first, second = ((batch[f"{view}/s2"], batch[f"{view}/s1"]) for view in VIEWS)
    return first, second
