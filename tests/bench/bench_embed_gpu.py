"""Embedding throughput on one GPU: d-pixels and tokens per second of whole `embed_pixels` calls.

Random weights, made-up d-pixels with many lengths; what a tile costs, host work included. Medium's
shape is not published: (480, 4, 1440) has about its number of parameters (performance.md 1).
"""

import statistics
import time

import torch

from tessera_core.model.config import own_config
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.encoder import Encoder
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES, STUDENT_SHAPES, student_shape
from tessera_core.testing.pixels import random_pixels

NUM_PIXELS = 65_536
NUM_RUNS = 5
BATCH = 4096
MAX_CLEAR, MAX_RADAR = 72, 104
"""Half of each on average: 36 S2 and 2 x 52 S1 observations."""

TARGETS = {"v1.1": 50_000, "v2 small": 240_000, "v2 medium": 120_000, "v2 large": 50_000}
"""D-pixels per second asked of one H200."""


def models() -> dict[str, ModelArtifact]:
    """Return the four models with random weights, in bfloat16 on the GPU."""
    v1_1, v2 = RELEASES[Family.V1_1_MPC], RELEASES[Family.V2_STUDENT]
    medium = student_shape(model_dim=480, num_layers=4, num_heads=4, feedforward_dim=1440)
    shapes = {
        "v2 small": STUDENT_SHAPES["small"],
        "v2 medium": medium,
        "v2 large": STUDENT_SHAPES["large"],
    }
    found = {"v1.1": (v1_1.shape, v1_1)} | {name: (shape, v2) for name, shape in shapes.items()}
    artifacts = {}
    for name, (shape, release) in found.items():
        torch.manual_seed(1)
        encoder = Encoder(shape).eval().to("cuda")
        config = own_config(shape)
        if name == "v1.1":
            config = type(config)(
                family=Family.V1_1_MPC,
                encoder=shape,
                sampling=release.sampling,
                output=release.output,
            )
        exact = ModelArtifact(encoder=encoder, config=config, norms=release.norms, digest="")
        artifacts[name] = exact.in_bfloat16()
    return artifacts


def main() -> None:
    """Print one line per model, or that there is no GPU."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batch {BATCH}, bfloat16")
    pixels = random_pixels(NUM_PIXELS, 1, max_clear=MAX_CLEAR, max_radar=MAX_RADAR)
    num_tokens = sum(
        int(series.num_valid().sum())
        for series in (pixels.optical, pixels.ascending, pixels.descending)
    )
    for name, artifact in models().items():
        seconds = []
        for _ in range(NUM_RUNS + 2):
            torch.cuda.synchronize()
            began = time.perf_counter()
            embed_pixels(artifact, pixels, batch_size=BATCH)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        rates = [NUM_PIXELS / second for second in seconds[2:]]
        rate = statistics.median(rates)
        print(
            f"{name}: {rate:,.0f} px/s ({min(rates):,.0f} to {max(rates):,.0f}), "
            f"{rate * num_tokens / NUM_PIXELS:,.0f} observations/s, "
            f"{num_tokens / NUM_PIXELS:.0f} per d-pixel; target {TARGETS[name]:,}",
            flush=True,
        )


if __name__ == "__main__":
    main()
