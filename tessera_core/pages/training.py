"""What a training looked like, as pictures; equal runs give equal bytes.

Shapes: E embedding width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

DOTS_PER_INCH: Final = 150
BLUE: Final = "#1b5e9b"
RUST: Final = "#d2691e"
FAINT: Final = "#66717c"


def draw_figures(
    folder: Path,
    history: Sequence[Mapping[str, Any]],
    probe: str,
    correlation_EE: npt.NDArray[np.float64],
    singular_E: npt.NDArray[np.float64],
) -> None:
    """Write ``curves.png``, ``correlation.png`` and ``spectrum.png`` into a folder.

    Args:
        folder: Gets them.
        history: Records of the run.
        probe: Name of the probe's score in them.
        correlation_EE: Between the embeddings of two views.
        singular_E: Singular values of centred embeddings, largest first.
    """
    with matplotlib.style.context("default"):
        figures = {
            "curves": draw_curves(history, probe),
            "correlation": draw_correlation(correlation_EE),
            "spectrum": draw_spectrum(singular_E),
        }
        for name, figure in figures.items():
            # Without the version and date that matplotlib would add.
            figure.savefig(
                folder / f"{name}.png",
                dpi=DOTS_PER_INCH,
                metadata={"Software": None},
                facecolor="white",
            )


def draw_curves(history: Sequence[Mapping[str, Any]], probe: str) -> Figure:
    """Draw the loss, RankMe and the probe's score over the steps."""
    panels = [
        (name, label, colour)
        for name, label, colour in (
            ("loss/total", "loss", BLUE),
            ("rank/embedding", "RankMe of embeddings, 0..1", BLUE),
            (probe, "probe accuracy (selection fields)", RUST),
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
