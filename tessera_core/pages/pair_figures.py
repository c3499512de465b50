"""Figures of one model's spectrum and of two versions side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from tessera_core.domain.scores import is_share, metric_title
from tessera_core.pages.evaluation_figures import FAINT, INK, entitle, finish

OLD_COLOUR: Final = "#80868b"
NEW_COLOUR: Final = "#1b5e9b"


def draw_two_curves(
    old: Mapping[str, Any], new: Mapping[str, Any], names: Sequence[str], *, is_simulated: bool
) -> Figure:
    """Draw the label-efficiency curves of two versions in one figure.

    Args:
        old: The older version's part of evaluation.json for a task that has a curve.
        new: The newer one's, of the same task.
        names: What to call the two.
        is_simulated: Whether to say that the scenes are.
    """
    curve = new["curve"]
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(7.6, 4.4), layout="constrained")
        axes = figure.subplots()
        for report, name, colour in zip((old, new), names, (OLD_COLOUR, NEW_COLOUR), strict=True):
            series = report["curve"]["series"].get(report["compared"])
            if series is None:
                continue
            places = np.array(report["curve"]["labels_per_class"], float)
            axes.fill_between(places, series["low"], series["high"], color=colour, alpha=0.15, lw=0)
            axes.plot(places, series["mean"], color=colour, lw=2, marker="o", ms=5, label=name)
        places = np.array(curve["labels_per_class"], float)
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
        if is_share(curve["metric"]):
            axes.set_ylim(0, 1)
            axes.axhline(curve["chance"], color=FAINT, lw=1, ls=(0, (1, 2)), label="chance")
        axes.legend(frameon=False, loc="upper left", ncols=3, labelcolor=INK)
        finish(axes)
        axes.grid(axis="y", color="#e3e6e8", lw=0.8)
        axes.set_xlabel("labelled d-pixels per class", color=INK)
        axes.set_ylabel(f"{metric_title(curve['metric'])}, unseen groups", color=INK)
        entitle(
            axes,
            f"Label efficiency, {new['title'].lower()}",
            f"mean and 95 % range of {curve['num_draws']} draws",
            is_simulated=is_simulated,
        )
    return figure


def draw_spectra(spectra: Mapping[str, Sequence[float]], *, is_simulated: bool) -> Figure:
    """Draw how evenly embeddings use their directions, one line per model.

    Args:
        spectra: Name -> deviation along each principal direction, descending (``spectrum`` of
            the diagnostic ``rank_me``); each is drawn relative to its largest.
        is_simulated: Whether to say that the scenes are.
    """
    colours = (NEW_COLOUR, OLD_COLOUR, "#d2691e", "#0b8457")
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(7.6, 4.0), layout="constrained")
        axes = figure.subplots()
        for number, (name, values) in enumerate(spectra.items()):
            spectrum = np.array(values, float)
            # A log axis cannot show the zeros of a collapsed direction.
            relative = np.maximum(spectrum / (spectrum[0] or 1.0), 1e-6)
            directions = np.arange(1, len(relative) + 1)
            axes.plot(directions, relative, color=colours[number % 4], lw=2, label=name)
        axes.set_yscale("log")
        axes.legend(frameon=False, loc="upper right", labelcolor=INK)
        finish(axes)
        axes.grid(axis="y", color="#e3e6e8", lw=0.8)
        axes.set_xlabel("principal direction", color=INK)
        axes.set_ylabel("deviation, relative to the first", color=INK)
        entitle(
            axes, "Spectrum of embeddings", "a line that drops early is a partial collapse",
            is_simulated=is_simulated,
        )  # fmt: skip
    return figure
