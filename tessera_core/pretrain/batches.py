"""From the raw observations of a step to the views that the encoder takes, on the device.

Shapes: b d-pixels of this rank, B of all ranks, K observations drawn.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tessera_core.domain.norms import NormStats
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.ranks import Ranks
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.step_order import StepPlan
from tessera_core.pretrain.views import draw_views

Tokens = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Views of this rank's d-pixels, and how the whole batch is mixed."""

    rows: npt.NDArray[np.int64]
    """(b,), which d-pixels of the train split they are."""

    first: Tokens
    """S2 (b, K2, 11) and S1 (b, K1, 3) tokens of the first view."""

    second: Tokens
    """Tokens of the second view."""

    mixed: Tokens
    """``share * first + (1 - share) * second of the partner``, day of year included."""

    partner_B: Tensor
    """Permutation of the whole batch: with whose second view each d-pixel is mixed."""

    mix_share: float
    """Share of the first view in the mix, 0..1; one for the whole batch."""

    overlap: Tensor
    """Mean share of S2 places at which both views hold the same observation, a scalar."""


def rows_to_gather(plan: StepPlan, ranks: Ranks) -> npt.NDArray[np.int64]:
    """Return the d-pixels whose observations this rank needs: its own, then their partners'."""
    return plan.rows_B[_positions(plan, ranks)]


def draw_batch(
    raw: RawPixels, plan: StepPlan, norms: NormStats, config: PretrainConfig, ranks: Ranks
) -> Batch:
    """Draw the views of this rank's part of a step.

    What a d-pixel's views are depends on its position in the whole batch and nothing else, so a
    rank draws its partners' second views itself instead of asking the rank that owns them.

    Args:
        raw: Observations of ``rows_to_gather``, on the device.
        plan: The step.
        norms: Normalisation of the train split.
        config: Settings.
        ranks: This process among all.
    """
    positions = _positions(plan, ranks)
    num_own = len(plan.rows_B) // ranks.size
    views = draw_views(
        raw,
        norms,
        position_B=torch.from_numpy(positions).to(ranks.device),
        key=plan.key,
        lengths=plan.lengths,
        is_disjoint=config.views == "disjoint",
        modality_dropout=config.modality_dropout,
    )
    partner_B = torch.from_numpy(plan.partner_B).to(ranks.device)
    partners = slice(num_own, None) if ranks.size > 1 else partner_B
    s2, s1 = (
        plan.mix_share * one[:num_own] + (1 - plan.mix_share) * two[partners]
        for one, two in zip(views.first, views.second, strict=True)
    )
    return Batch(
        rows=plan.rows_B[positions[:num_own]],
        first=(views.first[0][:num_own], views.first[1][:num_own]),
        second=(views.second[0][:num_own], views.second[1][:num_own]),
        mixed=(s2, s1),
        partner_B=partner_B,
        mix_share=plan.mix_share,
        overlap=views.overlap,
    )


def _positions(plan: StepPlan, ranks: Ranks) -> npt.NDArray[np.int64]:
    """Return places in the whole batch: this rank's, and behind them those of its partners."""
    own = np.arange(len(plan.rows_B))[ranks.own(len(plan.rows_B))]
    return own if ranks.size == 1 else np.concatenate([own, plan.partner_B[own]])
