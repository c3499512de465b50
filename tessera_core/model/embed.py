"""The embedding engine: d-pixels to embeddings, for evaluation, export and the command line alike.

D-pixels are grouped by the lengths of their two sequences, so no padding enters the network and
neighbours in a batch cannot matter.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.norms import NormStats
from tessera_core.domain.sampling import GOLDEN_GAMMA, mix_bits
from tessera_core.model.config import ModelConfig
from tessera_core.model.encoder import Encoder
from tessera_core.model.sequences import Rows, Sequences, sequences_of

SPAN: Final = 32_768
"""D-pixels whose tokens are in memory at a time: 80 MB at 60 S2 observations."""

CPU_TOKENS: Final = 8192
"""Tokens of a batch on a CPU: beyond it activations leave the caches."""

Lengths = tuple[int, int]


class Precision(StrEnum):
    """In which numbers the network multiplies."""

    FLOAT32 = "float32"
    """Exact: within 2e-5 of the reference."""

    BFLOAT16 = "bfloat16"
    """Matrix products in bfloat16, everything else in float32; days and norms are never rounded."""


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


def embed_pixels(
    artifact: ModelArtifact,
    pixels: DPixels,
    *,
    batch_size: int,
    precision: Precision = Precision.FLOAT32,
    dim: int | None = None,
    seed: int = 0,
    repeats: int = 1,
    progress: str | None = None,
) -> npt.NDArray[np.float32]:
    """Return embeddings (N, dim); a row of NaN where a d-pixel has no data.

    What is drawn for a d-pixel by a random sampling rule depends on ``seed`` and its own
    observations alone. Repeats are averaged as float32.

    Args:
        artifact: Network, norms and rules.
        pixels: N d-pixels.
        batch_size: Most d-pixels per forward pass.
        precision: Numbers to multiply in.
        dim: One of the model's usable widths, or None for the published one.
        seed: Decides what a random sampling rule draws; others ignore it.
        repeats: Draws to average, 1 or more; a rule that draws nothing takes one.
        progress: Label of the progress bar, or None for no bar.

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
    with torch.inference_mode(), bar:
        for start in range(0, len(pixels), SPAN):
            part = pixels.span(start, min(start + SPAN, len(pixels)))
            s2, s1, has_data = sequences_of(part, artifact.norms, artifact.config.sampling)
            rows = np.flatnonzero(has_data)
            total = np.zeros((len(rows), width), np.float32)
            for draw in range(num_draws):
                total += _embed_rows(
                    artifact, (s2, s1), rows, batch_size, precision, _seed_of(seed, draw), bar
                )[:, :width]
            embedding[start + rows] = total / np.float32(num_draws)
    return embedding


def use_one_thread() -> None:
    """Embed on one CPU thread from now on, so that the number of cores changes no digit.

    At these sizes a second thread gains little on idle cores, and waiting for it on busy ones was
    measured to cost five times the time. Tiles are what runs in parallel.
    """
    torch.set_num_threads(1)


def length_groups(num_s2: Rows, num_s1: Rows) -> list[tuple[Lengths, Rows]]:
    """Return the rows of each pair of sequence lengths, the longest last."""
    pairs, group = np.unique(np.stack([num_s2, num_s1], axis=1), axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(group.reshape(-1), minlength=len(pairs)))
    return [
        ((int(s2), int(s1)), rows)
        for (s2, s1), rows in zip(pairs, np.split(order, ends[:-1]), strict=True)
    ]


def _embed_rows(
    artifact: ModelArtifact,
    sensors: tuple[Sequences, Sequences],
    rows: Rows,
    batch_size: int,
    precision: Precision,
    seed: int,
    bar: "tqdm[Any]",
) -> npt.NDArray[np.float32]:
    """Return the network's answers for some d-pixels that have data, (B, E)."""
    device, sampling = artifact.device, artifact.config.sampling
    answers = np.empty((len(rows), artifact.config.encoder.embedding_dim), np.float32)
    tokens = [torch.from_numpy(sensor.tokens_MC).to(device) for sensor in sensors]
    num_s2, num_s1 = (sampling.lengths_of(sensor.num_usable()[rows]) for sensor in sensors)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision is Precision.BFLOAT16):
        for lengths, members in length_groups(num_s2, num_s1) if len(rows) else []:
            size = _batch_size(batch_size, sum(lengths), device)
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                inputs = [
                    _take(values, sensor, rows[batch], artifact, length, seed)
                    for values, sensor, length in zip(tokens, sensors, lengths, strict=True)
                ]
                answers[batch] = artifact.encoder(*inputs).float().cpu().numpy()
                bar.update(len(batch))
    return answers


def _take(
    tokens_MC: torch.Tensor,
    sensor: Sequences,
    rows: Rows,
    artifact: ModelArtifact,
    length: int,
    seed: int,
) -> torch.Tensor:
    """Return the sequences of one sensor, (B, T, bands + 1); zeros where it saw nothing."""
    num_usable = sensor.num_usable()[rows]
    if not num_usable.any():
        # Zeros, day 0 included, not the normalised zero; one token where the length is 0.
        shape = (len(rows), max(length, 1), tokens_MC.shape[1])
        return torch.zeros(shape, device=tokens_MC.device)
    index = sensor.gather(rows, artifact.config.sampling, length, seed)
    empty = np.flatnonzero(num_usable == 0)
    # A neighbour with an equal bucket may have data: look anywhere, then blank it out.
    index[empty] = 0
    taken = tokens_MC[torch.from_numpy(index).to(tokens_MC.device)]
    if len(empty):
        taken[torch.from_numpy(empty).to(taken.device)] = 0
    return taken


def _batch_size(batch_size: int, num_tokens: int, device: torch.device) -> int:
    if device.type != "cpu":
        return batch_size
    return min(batch_size, max(1, CPU_TOKENS // max(num_tokens, 1)))


def _seed_of(seed: int, draw: int) -> int:
    """Return the seed of one of several draws, far from those of neighbouring seeds."""
    start = np.array([seed % 2**64], np.uint64)
    return int(mix_bits(start + np.uint64(draw) * GOLDEN_GAMMA)[0])
