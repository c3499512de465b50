"""What a training looked like, as pictures; equal runs give equal bytes.

Shapes: B d-pixels, E embedding width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import matplotlib.style
import numpy as np
import torch
from matplotlib.figure import Figure

from tessera_core.pretrain.batches import draw_batch, rows_to_gather
from tessera_core.pretrain.measure import embed
from tessera_core.pretrain.ranks import alone
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.selection import METRIC
from tessera_core.pretrain.step_order import plan_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from tessera_core.domain.norms import NormStats
    from tessera_core.feed.reader import Feed
    from tessera_core.pretrain.config import PretrainConfig
    from tessera_core.pretrain.loop import Trained

DOTS_PER_INCH: Final = 150
BLUE: Final = "#1b5e9b"
RUST: Final = "#d2691e"
FAINT: Final = "#66717c"


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
    with matplotlib.style.context("default"):
        figures = {
            "curves": draw_curves(trained.history),
            "correlation": draw_correlation(_correlation(first_BE, second_BE)),
            "spectrum": draw_spectrum(torch.linalg.svdvals(first_BE - first_BE.mean(0)).numpy()),
        }
        for name, figure in figures.items():
            # Without the version and date that matplotlib would add.
            figure.savefig(
                folder / f"{name}.png",
                dpi=DOTS_PER_INCH,
                metadata={"Software": None},
                facecolor="white",
            )


def draw_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the loss, RankMe and the probe's score over the steps."""
    panels = [
        (name, label, colour)
        for name, label, colour in (
            ("loss/total", "loss", BLUE),
            ("rank/embedding", "RankMe of embeddings, 0..1", BLUE),
            (METRIC, "probe accuracy (selection fields)", RUST),
        )
        if any(name in record for record in history)
    ]
    figure = Figure(figsize=(7.6, 2.1 * len(panels) + 0.4), layout="constrained")
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, label, colour) in zip(rows, panels, strict=True):
        points = [(record["step"], record[name]) for record in history if name in record]
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=colour, lw=1.6, marker="o" if len(points) < 30 else "", ms=4)
        axes.set_title(label, loc="left", fontsize=9)
        axes.grid(color="#eceef0")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    rows[-1].set_xlabel("step")
    return figure


def draw_correlation(correlation_EE: npt.NDArray[np.float64]) -> Figure:
    """Draw how the dimensions of two views' embeddings go together: a diagonal is wanted."""
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(correlation_EE, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="correlation over one batch")
    axes.set_xlabel("dimension, second view")
    axes.set_ylabel("dimension, first view")
    diagonal = float(np.diagonal(correlation_EE).mean())
    rest = float(np.abs(correlation_EE[~np.eye(len(correlation_EE), dtype=bool)]).mean())
    axes.set_title(f"mean {diagonal:.2f} on the diagonal, |{rest:.2f}| off it", fontsize=9)
    return figure


def draw_spectrum(singular_E: npt.NDArray[np.float64]) -> Figure:
    """Draw the singular values of a batch of centred embeddings, largest first."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(np.arange(1, len(singular_E) + 1), singular_E / singular_E[0], color=BLUE, lw=1.8)
    axes.set_xlabel("direction")
    axes.set_ylabel("singular value, largest = 1")
    variance = np.cumsum(singular_E**2) / np.sum(singular_E**2)
    # Embeddings that are normalised at the end have one direction without any variance.
    axes.set_ylim(bottom=1e-4)
    most = int(np.searchsorted(variance, 0.9)) + 1
    axes.axvline(most, color=FAINT, lw=1, ls=(0, (3, 3)))
    axes.set_title(f"{most} of {len(singular_E)} directions hold 90 % of the variance", fontsize=9)
    axes.grid(color="#eceef0")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _correlation(first_BE: torch.Tensor, second_BE: torch.Tensor) -> npt.NDArray[np.float64]:
    white = [(view - view.mean(0)) / view.std(0).clamp_min(1e-9) for view in (first_BE, second_BE)]
    correlation_EE: npt.NDArray[np.float64] = (white[0].T @ white[1] / len(first_BE)).numpy()
    return correlation_EE
