"""Training throughput on one GPU: the production loop, from raw observations to weights.

Made-up d-pixels, random weights, bfloat16 with compiled encoder; the first steps are left out.
Medium's shape is not published: (480, 4, 1440) has about its number of parameters.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES, STUDENT_SHAPES, student_shape
from tessera_core.model.shape import EncoderConfig, SensorShape
from tessera_core.pretrain.checkpoint import CheckpointPolicy
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.loop import train
from tessera_core.pretrain.ranks import alone
from tessera_core.testing.models import tiny_settings
from tessera_core.testing.pixels import NORMS, as_feed, random_pixels
from tessera_core.testing.tracker import InMemoryTracker

NUM_PIXELS, NUM_STEPS, LOG_EVERY = 131_072, 60, 20
MAX_CLEAR, MAX_RADAR = 72, 104

SENSOR = SensorShape(num_layers=4, num_heads=4, feedforward_dim=1024)
V1_TRAINING = replace(RELEASES[Family.V1_0_EARLY].shape, s2=SENSOR, s1=SENSOR)
MEDIUM = student_shape(model_dim=480, num_layers=4, num_heads=4, feedforward_dim=1440)
CASES = {
    "v1 training shape, D 4096": (V1_TRAINING, 4096, 4096),
    "v2 small, D 4096": (STUDENT_SHAPES["small"], 4096, 4096),
    "v2 medium, D 4096": (MEDIUM, 4096, 4096),
    "v1 training shape, D 16384": (V1_TRAINING, 16_384, 4096),
}
"""Encoder, projector width, batch."""

TARGET = 18_000
"""Samples per second asked of one H200 for the first."""


def settings(shape: EncoderConfig, projector_dim: int, batch_size: int) -> PretrainConfig:
    """Return the settings of a case."""
    return tiny_settings(
        num_steps=NUM_STEPS, batch_size=batch_size, view_lengths=(40,), num_loaders=4,
        embedding_dim=shape.embedding_dim, projector_dim=projector_dim, projector_layers=6,
        precision="bfloat16", compile=True, log_every=LOG_EVERY, save_every=10**6,
        peak_lr=0.002, warmup_share=0.1,
    )  # fmt: skip


def measure(shape: EncoderConfig, config: PretrainConfig, device: torch.device) -> dict[str, float]:
    """Return the rates of the last logged steps of a short training."""
    feed = as_feed(random_pixels(NUM_PIXELS, 1, max_clear=MAX_CLEAR, max_radar=MAX_RADAR))
    tracker = InMemoryTracker()
    with tempfile.TemporaryDirectory() as folder:
        train(
            config, shape, feed, NORMS,
            checkpoints=CheckpointPolicy(folder=Path(folder), identity={}),
            tracker=tracker, probe=None, ranks=alone(device),
        )  # fmt: skip
    _, last = tracker.metrics[-1]
    return {name: value for name, value in last.items() if name.startswith(("speed/", "memory/"))}


def main() -> None:
    """Print one line per case, or that there is no GPU."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    for name, (shape, projector_dim, batch_size) in CASES.items():
        torch.cuda.reset_peak_memory_stats()
        rates = measure(shape, settings(shape, projector_dim, batch_size), torch.device("cuda"))
        listed = ", ".join(f"{key.partition('/')[2]} {value:.4g}" for key, value in rates.items())
        print(f"{name}, B {batch_size}, K 40 + 40, mix: {listed}", flush=True)


if __name__ == "__main__":
    main()
