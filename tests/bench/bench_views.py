"""Two views of a batch from raw observations: whole batches against one d-pixel at a time."""

import numpy as np

from tessera_core.pretrain.batches import draw_batch
from tessera_core.testing.pixels import NORMS, random_pixels
from tests.bench.protocol import compare

NUM_PIXELS, BATCH, LENGTH = 4096, 256, 16


def main() -> None:
    """Print one line."""
    pixels = random_pixels(NUM_PIXELS, 1, max_clear=40, max_radar=30)
    rng = np.random.default_rng(2)

    def stream(series, stats, row):
        span = slice(series.offsets[row], series.offsets[row + 1])
        valid = np.flatnonzero(series.valid[span])
        values = (series.values[span].astype(np.float32) - stats.mean) / (np.array(stats.std))
        return np.concatenate([values, series.day_of_year[span, None]], axis=1)[valid]

    def draw(tokens, width):
        if not len(tokens):
            return np.zeros((LENGTH, width), np.float32)
        chosen = rng.choice(len(tokens), LENGTH, replace=len(tokens) < LENGTH)
        return tokens[np.sort(chosen)]

    def one_by_one():
        views = []
        for row in rng.permutation(NUM_PIXELS)[:BATCH]:
            optical = stream(pixels.optical, NORMS.s2, row)
            radar = np.concatenate(
                [
                    stream(pixels.ascending, NORMS.s1_ascending, row),
                    stream(pixels.descending, NORMS.s1_descending, row),
                ]
            )
            views.append([(draw(optical, 11), draw(radar, 3)) for _ in range(2)])
        return [np.stack([pair[v][s] for pair in views]) for v in range(2) for s in range(2)]

    def whole_batch():
        return draw_batch(
            pixels, NORMS, 0, batch_size=BATCH, view_length=LENGTH, seed=int(rng.integers(1 << 30))
        )

    print(compare(f"two views, B {BATCH}, K {LENGTH}, from raw", one_by_one, whole_batch, 15))


if __name__ == "__main__":
    main()
