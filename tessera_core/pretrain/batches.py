"""Which d-pixels and which views a step sees: a pure function of seed and step.

Nothing is carried from step to step, so resuming needs no sampler state.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.norms import NormStats
from tessera_core.domain.views import draw_view, view_overlap
from tessera_core.model.tokens import optical_stream, radar_stream

EPOCH_STREAM: Final = 0
VIEW_STREAM: Final = 1
"""Keep the random streams of epochs and views apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Two views of the same d-pixels, and how to mix them."""

    rows: npt.NDArray[np.int64]
    """(B,), which d-pixels of the train split they are."""

    first: tuple[Tensor, Tensor]
    """S2 (B, K, 11) and S1 (B, K, 3) tokens of the first view."""

    second: tuple[Tensor, Tensor]
    """Tokens of the second view."""

    partner_B: Tensor
    """Permutation of the batch, for mixing."""

    mix_share: float
    """Share of the first view in the mix, 0..1; one for the whole batch."""

    overlap: float
    """Share of positions at which both S2 views hold the same observation."""

    def mixed(self) -> tuple[Tensor, Tensor]:
        """Return tokens of the mix, day of year included (method.md 4.6)."""
        s2, s1 = (
            self.mix_share * one + (1 - self.mix_share) * two[self.partner_B]
            for one, two in zip(self.first, self.second, strict=True)
        )
        return s2, s1


def rows_of_step(step: int, num_pixels: int, batch_size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the d-pixels of a step; each epoch is one permutation, its remainder left out."""
    size = min(batch_size, num_pixels)
    per_epoch = num_pixels // size
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, EPOCH_STREAM, epoch]).permutation(num_pixels)
    return order[position * size : (position + 1) * size]


def draw_batch(
    pixels: DPixels,
    norms: NormStats,
    step: int,
    *,
    batch_size: int,
    view_length: int,
    seed: int,
) -> Batch:
    """Draw two independent views of a step's d-pixels."""
    rows = rows_of_step(step, len(pixels), batch_size, seed)
    rng = np.random.default_rng([seed, VIEW_STREAM, step])
    optical, radar = optical_stream(pixels, rows, norms), radar_stream(pixels, rows, norms)
    chosen = [
        (draw_view(optical.valid_BT, view_length, rng), draw_view(radar.valid_BT, view_length, rng))
        for _ in range(2)
    ]
    first, second = (
        (torch.from_numpy(optical.take(s2)), torch.from_numpy(radar.take(s1))) for s2, s1 in chosen
    )
    return Batch(
        rows=rows,
        first=first,
        second=second,
        partner_B=torch.from_numpy(rng.permutation(len(rows))),
        mix_share=float(rng.beta(1.0, 1.0)),
        overlap=view_overlap(chosen[0][0], chosen[1][0]),
    )
