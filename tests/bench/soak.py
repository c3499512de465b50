"""Does a long training grow? ``soak.py MINUTES`` trains, samples this process, prints what it saw.

Loader threads, probes in the background and checkpoints run as in earnest. Exit code 1 when memory
moved by more than 2 % over the last two thirds of the time, or threads or open files grew.
"""

import argparse
import contextlib
import gc
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.ports import NullTracker
from tessera_core.pretrain.checkpoint import CheckpointPolicy
from tessera_core.pretrain.job import model_config
from tessera_core.pretrain.loop import train
from tessera_core.pretrain.probe import linear_probe_accuracy
from tessera_core.testing.models import tiny_settings
from tessera_core.testing.pixels import NORMS, as_feed, random_pixels

SAMPLE_EVERY_S = 5.0
MAX_DRIFT = 0.02
NUM_PIXELS, NUM_PROBED, NUM_FIELDS = 20_000, 600, 60


class TimeIsUp(Exception):
    """The soak has lasted long enough."""


class TimedTracker(NullTracker):
    """Ends the training after some time."""

    def __init__(self, minutes: float) -> None:
        self.ends = time.monotonic() + 60 * minutes
        self.step = 0

    def log_metrics(self, step, metrics):
        self.step = step
        if time.monotonic() > self.ends:
            raise TimeIsUp


def sample() -> tuple[float, int, int]:
    """Return resident megabytes, threads and open files of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").split("VmRSS:")[1]
    kilobytes = int(status.split()[0])
    return kilobytes / 1024, threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def build_probe(model, pixels):
    """Return a probe on made-up classes: what counts here is that it runs."""
    rng = np.random.default_rng(1)
    fields = rng.integers(NUM_FIELDS, size=len(pixels))

    def probe(encoder):
        artifact = ModelArtifact(encoder=encoder, config=model, norms=NORMS, digest="")
        embedding = embed_pixels(artifact, pixels, batch_size=256)
        return linear_probe_accuracy(embedding, fields % 4, fields, num_folds=3, seed=1)

    return probe


def watch(samples: list, stop: threading.Event) -> None:
    """Append a sample every few seconds."""
    while not stop.wait(SAMPLE_EVERY_S):
        samples.append(sample())


def main() -> int:
    """Train, watch, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    minutes = parser.parse_args().minutes
    torch.set_num_threads(1)
    settings = tiny_settings(
        num_steps=10**9, batch_size=256, view_lengths=(8, 16), model_dim=64, feedforward_dim=128,
        embedding_dim=64, projector_dim=256, num_loaders=2, log_every=10, probe_every=50,
        save_every=50, warmup_share=0.0, plateau_share=0.9,
    )  # fmt: skip
    model, pixels = model_config(settings), random_pixels(NUM_PIXELS, seed=3)
    tracker = TimedTracker(minutes)
    samples, stop = [], threading.Event()
    watcher = threading.Thread(target=watch, args=(samples, stop), daemon=True)
    watcher.start()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(TimeIsUp):
        train(
            settings, model.encoder, as_feed(pixels), NORMS,
            checkpoints=CheckpointPolicy(folder=Path(folder), identity={}), tracker=tracker,
            probe=build_probe(model, pixels.take(np.arange(NUM_PROBED))),
        )  # fmt: skip
    stop.set()
    watcher.join()
    gc.collect()
    memory, threads, files = (np.array(column) for column in zip(*samples, strict=True))
    third = len(samples) // 3
    middle, last = np.median(memory[third : 2 * third]), np.median(memory[2 * third :])
    drift = last / middle - 1
    print(
        f"{tracker.step} steps in {minutes:g} min, {len(samples)} samples; resident memory "
        f"{memory[0]:.0f} MB at first, medians of the thirds {np.median(memory[:third]):.1f}, "
        f"{middle:.1f}, {last:.1f} MB: drift {drift:+.2%}; threads {threads[third:].min()} to "
        f"{threads[third:].max()}, last {threads[-1]}; open files {files[third:].min()} to "
        f"{files[third:].max()}, last {files[-1]}"
    )
    grew = max(
        np.median(column[2 * third :]) - np.median(column[third : 2 * third])
        for column in (threads, files)
    )
    return int(abs(drift) > MAX_DRIFT or grew > 0)


if __name__ == "__main__":
    sys.exit(main())
