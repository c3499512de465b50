"""Two views of a batch from raw observations: compiled loops against one d-pixel at a time.

The reference is a clean-room form of what data generators of the field do for each sample: choose
among the valid observations with numpy, sort, normalise the chosen, append the day, stack.
"""

import statistics
from itertools import count

import numpy as np
import torch

from tessera_core.domain.norms import EPSILON
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.views import draw_views
from tessera_core.testing.pixels import NORMS, make_pixels
from tessera_core.testing.raw import padded_pixels
from tests.bench.protocol import compare

BATCHES, LENGTH, NUM_PAIRS = (256, 4096), 40, 15
NUM_UNUSABLE = 3
NUM_OPTICAL, NUM_ORBIT = 60 - NUM_UNUSABLE, 50 - NUM_UNUSABLE
TOLERANCE = 0.02
"""Of a channel's deviation, by which its mean and deviation may differ."""


def arrays(stats):
    return np.array(stats.mean, np.float32), np.array(stats.std, np.float32) + np.float32(EPSILON)


class OneByOne:
    """Draws both views of one d-pixel after the other."""

    def __init__(self, padded):
        self.padded = padded
        self.s2_mean, self.s2_std = arrays(NORMS.s2)
        orbits = [arrays(NORMS.s1_ascending), arrays(NORMS.s1_descending)]
        self.s1_mean, self.s1_std = (np.stack(pair) for pair in zip(*orbits, strict=True))
        self.rng = np.random.default_rng(1)

    def chosen(self, valid):
        usable = np.flatnonzero(valid)
        return np.sort(self.rng.choice(usable, LENGTH, replace=len(usable) < LENGTH))

    def sample(self, row):
        """Return S2 and S1 tokens of the first view, then of the second."""
        s2, ascending, descending = (
            self.padded.optical,
            self.padded.ascending,
            self.padded.descending,
        )
        values, days = s2.values[row], s2.day_of_year[row]
        radar = np.concatenate([ascending.values[row], descending.values[row]])
        radar_days = np.concatenate([ascending.day_of_year[row], descending.day_of_year[row]])
        present = np.concatenate([ascending.valid[row], descending.valid[row]])
        views = []
        for _ in range(2):
            index = self.chosen(s2.valid[row])
            tokens = np.empty((LENGTH, 11), np.float32)
            tokens[:, :-1] = (values[index].astype(np.float32) - self.s2_mean) / self.s2_std
            tokens[:, -1] = days[index]
            views.append(tokens)
            index = self.chosen(present)
            orbit = (index >= len(ascending.values[row])).astype(np.int64)
            tokens = np.empty((LENGTH, 3), np.float32)
            stored = radar[index].astype(np.float32)
            tokens[:, :-1] = (stored - self.s1_mean[orbit]) / self.s1_std[orbit]
            tokens[:, -1] = radar_days[index]
            views.append(tokens)
        return views

    def batch(self):
        samples = [self.sample(row) for row in range(len(self.padded.optical.valid))]
        return [torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True)]


def require_alike(reference, candidate):
    """Stop unless both hold as many bytes of the same type and spread alike."""
    for one, other in zip(reference, candidate, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert one.nbytes == other.nbytes
        pair = [tokens.double().flatten(0, 1) for tokens in (one, other)]
        spread = pair[0].std(dim=0)
        assert ((pair[0].mean(dim=0) - pair[1].mean(dim=0)).abs() < TOLERANCE * spread).all()
        assert ((spread - pair[1].std(dim=0)).abs() < TOLERANCE * spread).all()


def main() -> None:
    """Print two lines per batch size."""
    torch.set_num_threads(1)
    for num in BATCHES:
        pixels = make_pixels(
            [NUM_OPTICAL] * num,
            [NUM_ORBIT] * num,
            [NUM_ORBIT] * num,
            seed=1,
            num_unusable=NUM_UNUSABLE,
        )
        padded = padded_pixels(pixels)
        reference, raw = OneByOne(padded), RawPixels.from_padded(padded)
        keys, position = count(), torch.arange(num)

        def whole_batch(raw=raw, keys=keys, position=position):
            views = draw_views(
                raw,
                NORMS,
                position_B=position,
                key=next(keys),
                lengths=(LENGTH, LENGTH),
                is_disjoint=False,
                modality_dropout=0.0,
            )
            return [*views.first, *views.second]

        require_alike(reference.batch(), whole_batch())
        line = compare(
            f"two views from raw, B {num}, K {LENGTH}", reference.batch, whole_batch, NUM_PAIRS
        )
        print(line, flush=True)
        for name, seconds in (
            ("one by one", line.reference_cpu_s),
            ("whole batch", line.candidate_cpu_s),
        ):
            print(f"  {name}: {num / statistics.median(seconds):,.0f} d-pixels per CPU second")


if __name__ == "__main__":
    main()
