"""The embedding engine: d-pixels to embeddings, for evaluation and export alike.

Every valid observation is used. D-pixels are grouped by the bucket lengths of their two series
(method.md 3.2), so no padding enters the network and neighbours in a batch cannot matter.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.norms import NormStats
from tessera_core.domain.views import bucket_length, v2_bucket_positions
from tessera_core.model.encoder import Encoder, EncoderConfig
from tessera_core.model.tokens import optical_stream, radar_stream

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelArtifact:
    """A model that can embed."""

    encoder: Encoder
    """The network, in evaluation mode."""

    config: EncoderConfig
    """Its shape."""

    norms: NormStats
    """Its normalisation."""

    digest: str
    """Manifest digest; empty for a model that was never written."""


def embed_pixels(
    artifact: ModelArtifact, pixels: DPixels, *, batch_size: int, progress: str | None = None
) -> npt.NDArray[np.float32]:
    """Return embeddings (N, E); a row of NaN where a d-pixel has no valid observation.

    Args:
        artifact: Encoder, norms and their contract.
        pixels: N d-pixels.
        batch_size: D-pixels per forward pass.
        progress: Label of the progress bar, or None for no bar.
    """
    embedding = np.full((len(pixels), artifact.config.embedding_dim), np.nan, np.float32)
    groups = bucket_groups(pixels)
    batches = [
        (buckets, rows[start : start + batch_size])
        for buckets, rows in groups
        for start in range(0, len(rows), batch_size)
    ]
    artifact.encoder.eval()
    with torch.inference_mode():
        for (optical, radar), rows in tqdm(
            batches, desc=progress, disable=None if progress else True, leave=False
        ):
            streams = (
                optical_stream(pixels, rows, artifact.norms),
                radar_stream(pixels, rows, artifact.norms),
            )
            tokens = [
                torch.from_numpy(stream.take(_bucket_indices(stream.valid_BT, bucket)))
                for stream, bucket in zip(streams, (optical, radar), strict=True)
            ]
            embedding[rows] = artifact.encoder(*tokens).float().numpy()
    return embedding


def use_one_thread() -> None:
    """Embed on one CPU thread from now on, so that the number of cores changes no digit.

    At these sizes a second thread gains little on idle cores, and waiting for it on busy ones was
    measured to cost five times the time. Tiles are what runs in parallel.
    """
    torch.set_num_threads(1)


def bucket_groups(pixels: DPixels) -> list[tuple[tuple[int, int], Rows]]:
    """Return the d-pixels of each pair of bucket lengths; those without any data in none."""
    num_optical = pixels.optical.num_valid()
    num_radar = pixels.ascending.num_valid() + pixels.descending.num_valid()
    buckets = np.stack([bucket_length(num_optical), bucket_length(num_radar)], axis=1)
    pairs, group = np.unique(buckets, axis=0, return_inverse=True)
    return [
        ((int(optical), int(radar)), np.flatnonzero(group.reshape(-1) == number))
        for number, (optical, radar) in enumerate(pairs)
        if optical or radar
    ]


def _bucket_indices(valid_BT: npt.NDArray[np.bool_], bucket: int) -> Rows:
    """Return which observations fill the bucket of each d-pixel, (B, max(bucket, 1))."""
    if bucket == 0:
        return np.zeros((len(valid_BT), 1), np.int64)
    num_valid = valid_BT.sum(axis=1)
    # A stable sort puts the valid observations first, in time order.
    order_BT = np.argsort(~valid_BT, axis=1, kind="stable")
    counts, inverse = np.unique(num_valid, return_inverse=True)
    patterns = np.stack([_pattern(int(count), bucket) for count in counts])
    return np.take_along_axis(order_BT, patterns[inverse], axis=1)


@cache
def _pattern(num_valid: int, bucket: int) -> Rows:
    return v2_bucket_positions(num_valid, bucket)
