"""Two views of a batch, drawn from stored numbers on whatever device holds them.

What a d-pixel's views show depends on the step's key, its position in the global batch and its
own valid observations, and on nothing else: not on its neighbours, the padding, the rank, the
device or the number of threads.

Shapes: B d-pixels, T observations (padded; may be 0), K observations drawn, C bands.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.norms import NormStats
from tessera_core.errors import ConfigError, RecordError
from tessera_core.pretrain.chance import MAX_KEY, stream_words
from tessera_core.pretrain.raw_pixels import RawPixels, RawSeries
from tessera_core.pretrain.views_plain import DrawRule, draw_plain

Tokens = tuple[Tensor, Tensor]
"""S2 (B, K, 11) and S1 (B, K, 3), float32: normalised bands, then the raw day of year."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Views:
    """Two views of the same d-pixels."""

    first: Tokens
    """What the first view shows; zeros, day included, where it sees nothing of a sensor."""

    second: Tokens
    """What the second view shows."""

    overlap: Tensor
    """Scalar float32, 0..1: share of S2 places at which both views hold the same observation."""


def draw_views(
    raw: RawPixels,
    norms: NormStats,
    *,
    position_B: Tensor,
    key: int,
    lengths: tuple[int, int],
    is_disjoint: bool,
    modality_dropout: float,
) -> Views:
    """Draw two sparse random temporal views of each d-pixel, as model input (method.md 3.1).

    A view draws without replacement where a d-pixel has enough valid observations, with
    replacement where it has fewer, and holds them in stored order: S1 ascending, then descending.
    Nothing waits for the device.

    Args:
        raw: Stored observations.
        norms: Normalisation of the model.
        position_B: (B,) int64, place of each d-pixel in the global batch of the step, 0 up to
            below 2^32.
        key: 0 up to below 2^63, stands for seed and step.
        lengths: Observations per view of S2 and of S1.
        is_disjoint: Deal each d-pixel's valid observations into two halves, one per view; a
            single one goes to both.
        modality_dropout: 0..1, chance that a view of a d-pixel hides one sensor, either equally
            likely; the only sensor that saw it is never hidden.

    Raises:
        ConfigError: A length, the key or the chance is out of range.
        RecordError: Positions do not fit the batch.
    """
    if min(lengths) < 1 or not 0 <= modality_dropout <= 1 or not 0 <= key < MAX_KEY:
        raise ConfigError(
            f"views of {lengths} observations with modality dropout {modality_dropout} and key "
            f"{key}; expected lengths from 1, dropout 0 to 1, key 0 to 2^63 - 1"
        )
    device = raw.optical.valid.device
    fits = position_B.shape == (len(raw),) and position_B.dtype == torch.int64
    if not fits or position_B.device != device:
        raise RecordError(
            f"positions are {position_B.dtype} of shape {tuple(position_B.shape)} on "
            f"{position_B.device}, expected torch.int64 of shape ({len(raw)},), one per d-pixel, "
            f"on {device}"
        )
    rule = DrawRule(
        words=stream_words(key),
        lengths=lengths,
        is_disjoint=is_disjoint,
        num_hidden=round(modality_dropout * 2**32),
    )
    draw = draw_compiled if device.type == "cpu" else draw_plain
    s2, s1, overlap = draw(raw, norms, position_B, rule)
    return Views(first=(s2[0], s1[0]), second=(s2[1], s1[1]), overlap=overlap)


def draw_compiled(
    raw: RawPixels, norms: NormStats, position_B: Tensor, rule: DrawRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Do in compiled loops, on this thread, what ``draw_plain`` does; tensors on the CPU."""
    # Loaded here: numba takes a while, and a run on a GPU never needs it.
    from tessera_core.pretrain.views_compiled import fill_views, scale_rows

    s2, s1 = (
        torch.empty((2, len(raw), length, num_bands + 1), dtype=torch.float32)
        for length, num_bands in zip(rule.lengths, (NUM_S2, NUM_S1), strict=True)
    )
    num_same = fill_views(
        (_arrays(raw.optical), _arrays(raw.ascending), _arrays(raw.descending)),
        (
            scale_rows(norms.s2, raw.optical.valid.shape[1]),
            scale_rows(norms.s1_ascending, raw.ascending.valid.shape[1]),
            scale_rows(norms.s1_descending, raw.descending.valid.shape[1]),
        ),
        position_B.contiguous().numpy(),
        rule.words,
        rule.is_disjoint,
        rule.num_hidden,
        s2.numpy(),
        s1.numpy(),
    )
    num_places = max(len(raw) * rule.lengths[0], 1)
    return s2, s1, torch.tensor(num_same / num_places, dtype=torch.float32)


def _arrays(
    series: RawSeries,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Return values (B, T * C), days and validity in C order, without a copy where they are."""
    values = np.ascontiguousarray(series.values.numpy())
    num_pixels, num_times, num_bands = values.shape
    return (
        values.reshape(num_pixels, num_times * num_bands),
        np.ascontiguousarray(series.day_of_year.numpy()),
        np.ascontiguousarray(series.valid.numpy()),
    )
