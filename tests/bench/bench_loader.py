"""A pass over stored d-pixels: raw batches gathered at random against one sample at a time.

The reference is a clean-room form of the field's loader: views drawn and normalised beforehand lie
in float32 files, an iterable data set yields one sample after the other in file order, and
PyTorch's DataLoader collates them. Ours gathers what was stored, in random order, and draws later.
"""

import statistics
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.feed.from_arrays import gather
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.views import draw_views
from tessera_core.testing.pixels import NORMS, make_pixels
from tests.bench.protocol import compare

NUM, BATCH, LENGTH, NUM_PAIRS = 8192, 256, 40, 7
NUM_OPTICAL, NUM_ORBIT = 60, 50
WIDTHS = {"aug1-s2": 11, "aug1-s1": 3, "aug2-s2": 11, "aug2-s1": 3}


class Augmented(IterableDataset):
    """Samples in file order."""

    def __init__(self, folder: Path) -> None:
        # As plain arrays: np.memmap would add its own cost to every row.
        self.arrays = {
            name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in WIDTHS
        }

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for row in range(NUM):
            yield {
                name: torch.tensor(array[row], dtype=torch.float32)
                for name, array in self.arrays.items()
            }


def write_augmented(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for name, width in WIDTHS.items():
        np.save(folder / f"{name}.npy", rng.random((NUM, LENGTH, width), np.float32))


def stored(folder: Path) -> DPixels:
    """Return d-pixels that lie in memory-mapped files."""
    pixels = make_pixels([NUM_OPTICAL] * NUM, [NUM_ORBIT] * NUM, [NUM_ORBIT] * NUM, seed=1)

    def mapped(sensor: str) -> Series:
        parts = {}
        for part in ("values", "day_of_year", "offsets", "valid"):
            path = folder / f"{sensor}.{part}.npy"
            np.save(path, getattr(getattr(pixels, sensor), part))
            parts[part] = np.load(path, mmap_mode="r")
        return Series(**parts)

    return DPixels(
        optical=mapped("optical"), ascending=mapped("ascending"), descending=mapped("descending")
    )


def raw_bytes(raw: RawPixels) -> int:
    parts = (raw.optical, raw.ascending, raw.descending)
    return sum(part.values.nbytes + part.day_of_year.nbytes + part.valid.nbytes for part in parts)


def main() -> None:
    """Print the time of a pass and the bytes moved per sample, raw and with the views drawn."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_augmented(folder)
        pixels, samples = stored(folder), Augmented(folder)
        rng, keys, moved = np.random.default_rng(2), count(), {}

        def one_by_one():
            loader = DataLoader(samples, batch_size=BATCH, num_workers=0)
            moved["reference"] = sum(tensor.nbytes for batch in loader for tensor in batch.values())

        def raw_batches():
            for rows in rng.permutation(NUM).reshape(-1, BATCH):
                yield RawPixels.from_padded(gather(pixels, rows))

        def gathered():
            moved["candidate"] = sum(raw_bytes(raw) for raw in raw_batches())

        def gathered_and_drawn():
            for raw in raw_batches():
                draw_views(
                    raw,
                    NORMS,
                    position_B=torch.arange(BATCH),
                    key=next(keys),
                    lengths=(LENGTH, LENGTH),
                    is_disjoint=False,
                    modality_dropout=0.0,
                )

        for what, candidate in (
            ("raw batches", gathered),
            ("raw batches and both views of each", gathered_and_drawn),
        ):
            line = compare(f"loader, B {BATCH}, {what}", one_by_one, candidate, NUM_PAIRS)
            print(line, flush=True)
            rate = NUM / statistics.median(line.candidate_cpu_s)
            print(f"  ours: {rate:,.0f} d-pixels per CPU second")
    print(
        f"  bytes moved per sample: reference {moved['reference'] / NUM:.0f}, "
        f"ours {moved['candidate'] / NUM:.0f}"
    )


if __name__ == "__main__":
    main()
