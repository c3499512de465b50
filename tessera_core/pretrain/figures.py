"""What a training looked like, as pictures; equal runs give equal bytes.

Shapes: B d-pixels, E embedding width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tessera_core.pages.training import draw_figures
from tessera_core.pretrain.batches import draw_batch, rows_to_gather
from tessera_core.pretrain.measure import embed
from tessera_core.pretrain.ranks import alone
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.selection import METRIC
from tessera_core.pretrain.step_order import plan_step

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from tessera_core.domain.norms import NormStats
    from tessera_core.feed.reader import Feed
    from tessera_core.pretrain.config import PretrainConfig
    from tessera_core.pretrain.loop import Trained


def draw_training(
    folder: Path, trained: Trained, feed: Feed, norms: NormStats, settings: PretrainConfig
) -> None:
    """Write the curves of a run, and what its encoder makes of one more batch.

    Args:
        folder: Gets ``curves.png``, ``correlation.png`` and ``spectrum.png``.
        trained: The run.
        feed: Train split.
        norms: Its normalisation.
        settings: Its settings; the batch is the one that step ``num_steps`` would have seen.
    """
    ranks = alone(next(trained.encoder.parameters()).device)
    plan = plan_step(settings.num_steps, len(feed.pixels), settings)
    raw = RawPixels.from_padded(feed.gather(rows_to_gather(plan, ranks))).to(ranks.device)
    batch = draw_batch(raw, plan, norms, settings, ranks)
    first_BE, second_BE = (
        embed(trained.encoder, view).double().cpu() for view in (batch.first, batch.second)
    )
    draw_figures(
        folder,
        trained.history,
        METRIC,
        _correlation(first_BE, second_BE),
        torch.linalg.svdvals(first_BE - first_BE.mean(0)).numpy(),
    )


def _correlation(first_BE: torch.Tensor, second_BE: torch.Tensor) -> npt.NDArray[np.float64]:
    white = [(view - view.mean(0)) / view.std(0).clamp_min(1e-9) for view in (first_BE, second_BE)]
    correlation_EE: npt.NDArray[np.float64] = (white[0].T @ white[1] / len(first_BE)).numpy()
    return correlation_EE
