"""The embedding engine: d-pixels to embeddings, for evaluation, export and the command line alike.

D-pixels are grouped by the lengths of their two sequences; nothing that one observation of a
neighbour says enters another d-pixel.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.norms import NormStats
from tessera_core.domain.sampling import GOLDEN_GAMMA, mix_bits
from tessera_core.model.config import ModelConfig
from tessera_core.model.encoder import Encoder
from tessera_core.model.equal_lengths import equal_lengths, plan_sensor
from tessera_core.model.sequences import Rows, Sequences, sequences_of

SPAN: Final = 32_768
"""D-pixels whose tokens are in memory at a time: 80 MB at 60 S2 observations."""

CPU_ACTIVATIONS: Final = 2**24
"""Values of the widest layer of one batch on a CPU: more leave the caches, and fewer read the
weights too often (measured for widths of 1024 and 4096)."""


MAX_THREADS: Final = 8
"""Batches at a time; each holds its activations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelArtifact:
    """A model that can embed."""

    encoder: Encoder
    """The network, in evaluation mode, on the device that computes."""

    config: ModelConfig
    """Its family, shape, sampling and output rule."""

    norms: NormStats
    """Its normalisation."""

    digest: str
    """Manifest digest; empty for a model that was never written."""

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.encoder.parameters()).device

    def in_bfloat16(self) -> Self:
        """Return the model with sensor encoders that compute in bfloat16.

        About as inexact as int8 coding, and faster where the device has bfloat16.
        """
        return replace(self, encoder=self.encoder.in_bfloat16())


def embed_pixels(
    artifact: ModelArtifact,
    pixels: DPixels,
    *,
    batch_size: int,
    dim: int | None = None,
    seed: int = 0,
    repeats: int = 1,
    progress: str | None = None,
    num_threads: int = 1,
) -> npt.NDArray[np.float32]:
    """Return embeddings (N, dim); a row of NaN where a d-pixel has no data.

    What is drawn for a d-pixel by a random sampling rule depends on ``seed`` and its own
    observations alone. Repeats are averaged as float32.

    Args:
        artifact: Network, norms and rules.
        pixels: N d-pixels.
        batch_size: Most d-pixels per forward pass.
        dim: One of the model's usable widths, or None for the published one.
        seed: Decides what a random sampling rule draws; others ignore it.
        repeats: Draws to average, 1 or more; a rule that draws nothing takes one.
        progress: Label of the progress bar, or None for no bar.
        num_threads: Batches at a time on a CPU; no digit depends on it, memory does.

    Raises:
        ArtifactError: The model cannot be cut to ``dim``.
    """
    width = artifact.config.output.require(dim)
    embedding = np.full((len(pixels), width), np.nan, np.float32)
    num_draws = repeats if artifact.config.sampling.is_random else 1
    artifact.encoder.eval()
    bar: tqdm[Any] = tqdm(
        total=len(pixels) * num_draws, desc=progress, unit="px", leave=False,
        disable=None if progress else True,
    )  # fmt: skip
    threads = ThreadPoolExecutor(num_threads if artifact.device.type == "cpu" else 1)
    with torch.inference_mode(), bar, threads:
        for start in range(0, len(pixels), SPAN):
            part = pixels.span(start, min(start + SPAN, len(pixels)))
            s2, s1, has_data = sequences_of(part, artifact.norms, artifact.config.sampling)
            rows = np.flatnonzero(has_data)
            total = np.zeros((len(rows), width), np.float32)
            for draw in range(num_draws):
                total += _embed_rows(
                    artifact, (s2, s1), rows, batch_size, _seed_of(seed, draw), bar, threads
                )[:, :width]
            embedding[start + rows] = total / np.float32(num_draws)
    return embedding


def usable_cores() -> int:
    """Return how many batches to embed at a time where nothing else is computed."""
    return min(len(os.sched_getaffinity(0)), MAX_THREADS)


def use_one_thread() -> None:
    """Multiply on one CPU thread from now on, so that the number of cores changes no digit.

    At these sizes a second thread gains little on idle cores, and waiting for it on busy ones was
    measured to cost five times the time. Tiles and batches are what runs in parallel.
    """
    torch.set_num_threads(1)


def _embed_rows(
    artifact: ModelArtifact,
    sensors: tuple[Sequences, Sequences],
    rows: Rows,
    batch_size: int,
    seed: int,
    bar: "tqdm[Any]",
    threads: ThreadPoolExecutor,
) -> npt.NDArray[np.float32]:
    """Return the network's answers for some d-pixels that have data, (B, E)."""
    device, sampling, shape = artifact.device, artifact.config.sampling, artifact.config.encoder
    widest = max(shape.s2.feedforward_dim, shape.s1.feedforward_dim)
    answers = np.empty((len(rows), shape.embedding_dim), np.float32)
    s2, s1 = (plan_sensor(sensor, rows, sampling, seed, device) for sensor in sensors)

    def embed(batch: Rows) -> None:
        (s2_tokens, s2_repeats), (s1_tokens, s1_repeats) = s2.take(batch), s1.take(batch)
        with torch.inference_mode():  # each thread has a mode of its own
            answer_BE = artifact.encoder(s2_tokens, s1_tokens, s2_repeats, s1_repeats)
        answers[batch] = answer_BE.float().cpu().numpy()
        bar.update(len(batch))

    batches: list[Rows] = []
    for members in equal_lengths((s2, s1)):
        num_tokens = int(s2.num_distinct[members].max() + s1.num_distinct[members].max())
        size = batch_size
        if device.type == "cpu":
            size = min(size, max(1, CPU_ACTIVATIONS // (num_tokens * widest)))
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    for _ in threads.map(embed, batches):
        pass
    return answers


def _seed_of(seed: int, draw: int) -> int:
    """Return the seed of one of several draws, far from those of neighbouring seeds."""
    # Arrays, which wrap around without a warning.
    start, steps = np.array([[seed % 2**64], [draw]], np.uint64)
    return int(mix_bits(start + steps * GOLDEN_GAMMA)[0])
