"""The figures of the report; equal scores give equal bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.scores import is_share, metric_title
from tessera_core.pages.mosaic import embedding_colours, latest_year, paint, place_tiles
from tessera_core.records.labels import class_names
from tessera_core.records.words import SIMULATED, model_label

if TYPE_CHECKING:
    from tessera_core.benchmarks.gather import Gathered, MappedTile

MODEL_COLOURS: Final = {
    "encoder": "#1b5e9b",
    "few_shot": "#0b8457",
    "random_encoder": "#80868b",
    "raw": "#d2691e",
}
CLASS_COLOURS: Final = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#7f4f24",
    "#9b5de5", "#80b918", "#22333b", "#ff8fa3", "#00a6a6", "#b5838d", "#6c757d", "#4c1d95",
)  # fmt: skip
UNLABELLED_COLOUR: Final = "#eceef0"
INK: Final = "#1f2933"
FAINT: Final = "#66717c"
WARNING: Final = "#9a3412"

DOTS_PER_INCH: Final = 150
MAX_NUMBERED_CLASSES: Final = 14
"""More classes leave no room for numbers in the cells of a confusion matrix."""

LABEL_GAP: Final = 0.045
"""Least distance of two labels at line ends, in shares of the axis."""


def draw_all(folder: Path, evaluation: Mapping[str, Any], gathered: "Gathered") -> None:
    """Draw what there is to draw, one file per figure: ``<kind>-<task>.png``, ``pca_map.png``."""
    simulated = evaluation["simulated"]
    for name, report in evaluation["tasks"].items():
        for which in ("curve", "shares"):
            if report[which] is not None:
                figure = draw_curve(report, which, is_simulated=simulated)
                save_png(figure, folder / f"{which}-{name}.png")
        if report["confusion"] is not None:
            figure = draw_confusion(report, is_simulated=simulated)
            save_png(figure, folder / f"confusion-{name}.png")
    if gathered.tiles:
        codes = np.unique(np.concatenate([tile.crop_type for tile in gathered.tiles]))
        names = class_names([int(code) for code in codes if code], gathered.map_legend)
        save_png(draw_map(gathered.tiles, names, is_simulated=simulated), folder / "pca_map.png")


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure without the version and date that matplotlib would add."""
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None}, facecolor="white")


def draw_curve(report: Mapping[str, Any], which: str, *, is_simulated: bool) -> Figure:
    """Draw a score against labels per class, or against the share of all labels.

    Args:
        report: A task's part of evaluation.json.
        which: ``curve`` or ``shares``.
        is_simulated: Whether to say that the scenes are.
    """
    curve = report[which]
    is_count = which == "curve"
    places = np.array(curve["labels_per_class" if is_count else "shares"], float)
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        axes = figure.subplots()
        ends = []
        for model, series in curve["series"].items():
            colour = model_colour(model)
            axes.fill_between(places, series["low"], series["high"], color=colour, alpha=0.13, lw=0)
            axes.plot(places, series["mean"], color=colour, lw=2, marker="o", ms=5)
            ends.append((series["mean"][-1], model_label(model), colour))
        if is_count:
            axes.axhline(curve["chance"], color=FAINT, lw=1, ls=(0, (1, 2)))
            ends.append((curve["chance"], "chance", FAINT))
        axes.set_xscale("log")
        axes.set_xticks(
            places, [f"{place:g}" if is_count else f"{100 * place:g} %" for place in places]
        )
        axes.minorticks_off()
        low, high = (0.0, 1.0) if is_share(curve["metric"]) else _limits(curve["series"])
        axes.set_ylim(low, high)
        # A line that ends outside keeps its label at the edge.
        ends = [(float(np.clip(end, low, high)), label, ink) for end, label, ink in ends]
        for height, (_, label, colour) in zip(
            _spread(ends, LABEL_GAP * (high - low)), sorted(ends), strict=True
        ):
            axes.annotate(
                label, (1.02, (height - low) / (high - low)), xycoords="axes fraction",
                color=colour, va="center", fontsize=10, annotation_clip=False,
            )  # fmt: skip
        finish(axes)
        axes.grid(axis="y", color="#e3e6e8", lw=0.8)
        axes.set_xlabel("labelled d-pixels per class" if is_count else "share of labels", color=INK)
        axes.set_ylabel(f"{metric_title(curve['metric'])}, unseen groups", color=INK)
        entitle(
            axes,
            f"Label efficiency, {report['title'].lower()}",
            f"mean and 95 % range of {curve['num_draws']} draws",
            is_simulated=is_simulated,
        )
    return figure


def model_colour(model: str) -> str:
    """Return the colour that a model has in every figure."""
    features, _, head = model.partition("/")
    return MODEL_COLOURS.get(head) or MODEL_COLOURS.get(features, FAINT)


def _limits(series: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[float, float]:
    """Return the ends of an axis for scores that are no shares; a bad start is cut off."""
    low = min(min(one["mean"]) for one in series.values())
    high = max(max(one["high"]) for one in series.values())
    if high <= 1:  # a coefficient of determination
        low = max(low, -0.5)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def draw_confusion(report: Mapping[str, Any], *, is_simulated: bool) -> Figure:
    """Draw the confusion matrix of a task's compared model, each row summing to 100 %."""
    names = list(report["classes"])
    matrix = np.array(report["confusion"]["counts"], float)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with matplotlib.style.context("default"):
        edge = 2.6 + 0.55 * len(names)
        figure = Figure(figsize=(edge + 1.2, edge + 0.4), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=25)
        bar.set_label("share of the true class", color=INK)
        bar.outline.set_visible(False)
        totals = matrix.sum(axis=1).astype(int)
        rows = [f"{name} ({total})" for name, total in zip(names, totals, strict=True)]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), rows)
        if len(names) <= MAX_NUMBERED_CLASSES:
            for (row, column), value in np.ndenumerate(share):
                axes.text(
                    column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=9,
                    color="white" if value > 0.55 else INK,
                )  # fmt: skip
        finish(axes)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted", color=INK)
        axes.set_ylabel("true (d-pixels)", color=INK)
        entitle(
            axes,
            f"{report['title']}: {model_label(report['confusion']['model'])}",
            "per cent of the true class, unseen groups",
            is_simulated=is_simulated,
        )
    return figure


def draw_map(
    tiles: "Sequence[MappedTile]", names: Mapping[int, str], *, is_simulated: bool
) -> Figure:
    """Draw embeddings as colours, beside the true crops where there are any.

    Args:
        tiles: All mapped tiles; the latest year is drawn.
        names: Class names by code, of the classes to show.
        is_simulated: Whether to say that the scenes are.
    """
    shown = latest_year(tiles)
    placement = place_tiles([tile.grid for tile in shown])
    colours, share = embedding_colours(shown)
    has_truth = any((tile.crop_type > 0).any() for tile in shown)
    num_panels = 2 if has_truth else 1
    aspect = placement.height / placement.width
    with matplotlib.style.context("default"):
        size = (5.2 * num_panels + (1.7 if has_truth else 0), float(np.clip(5.2 * aspect, 2.2, 9)))
        figure = Figure(figsize=(size[0], size[1] + 0.9), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, num_panels))
        panels[0].imshow(paint(shown, placement, colours), interpolation="nearest")
        entitle(
            panels[0],
            f"Embeddings, {shown[0].year}",
            f"first 3 principal components as red, green, blue ({100 * share:.0f} % of variance)",
            is_simulated=is_simulated,
        )
        if has_truth:
            truth = [_class_colours(tile.crop_type, names) for tile in shown]
            panels[1].imshow(paint(shown, placement, truth), interpolation="nearest")
            entitle(panels[1], "True crops", "grey: no label", is_simulated=False)
            _legend(panels[1], names)
        for axes in panels:
            axes.set_axis_off()
        if placement.is_map:
            _scale_bar(panels[0], placement.width)
    return figure


def class_colours(codes: Sequence[int]) -> dict[int, str]:
    """Return a colour per class code, in the order of the codes."""
    return {
        code: CLASS_COLOURS[number % len(CLASS_COLOURS)]
        for number, code in enumerate(sorted(codes))
    }


def _class_colours(
    crop_type: npt.NDArray[np.int64], names: Mapping[int, str]
) -> npt.NDArray[np.float64]:
    colours = np.tile(to_rgba(UNLABELLED_COLOUR), (len(crop_type), 1))
    for code, colour in class_colours(list(names)).items():
        colours[crop_type == code] = to_rgba(colour)
    return colours


def _legend(axes: Axes, names: Mapping[int, str]) -> None:
    colours = class_colours(list(names))
    handles = [Patch(facecolor=colours[code], label=names[code]) for code in sorted(names)]
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False,
        fontsize=9, handlelength=1, handleheight=1, labelcolor=INK,
    )  # fmt: skip


def _scale_bar(axes: Axes, num_columns: int) -> None:
    """Draw a bar of a round length, about a fifth of the width, below the picture."""
    target = num_columns * TILE_RESOLUTION_M / 5
    power = 10 ** np.floor(np.log10(target))
    length_m = float(max(step * power for step in (1, 2, 5) if step * power <= target))
    share = length_m / TILE_RESOLUTION_M / num_columns
    axes.annotate(
        "", (0, -0.025), (share, -0.025), xycoords="axes fraction", annotation_clip=False,
        arrowprops={"arrowstyle": "-", "lw": 2.5, "color": INK, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    axes.annotate(
        label, (share + 0.015, -0.025), xycoords="axes fraction", va="center", fontsize=9,
        color=INK, annotation_clip=False,
    )  # fmt: skip


def _spread(ends: list[tuple[float, str, str]], gap: float) -> list[float]:
    """Return label heights in ascending order, moved apart until none overlaps."""
    heights: list[float] = []
    for value, _, _ in sorted(ends):
        heights.append(max(value, heights[-1] + gap) if heights else value)
    return heights


def finish(axes: Axes) -> None:
    """Take the frame away that says nothing."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(side == "bottom")
    axes.spines["bottom"].set_color("#b8bec4")
    axes.tick_params(colors=INK, length=0)
    axes.set_axisbelow(True)


def entitle(axes: Axes, title: str, subtitle: str, *, is_simulated: bool) -> None:
    """Write a title, what is shown, and the warning that belongs on every simulated figure."""
    # An invisible title keeps the room that the annotations below take.
    axes.set_title(" ", fontsize=34 if is_simulated else 24)
    lines = [(title, INK, 12.5, "bold"), (subtitle, FAINT, 9.5, "normal")]
    if is_simulated:
        lines.append((SIMULATED, WARNING, 9.5, "bold"))
    for number, (text, colour, size, weight) in enumerate(reversed(lines)):
        axes.annotate(
            text, (0, 1), (0, 6 + 14 * number), xycoords="axes fraction",
            textcoords="offset points", color=colour, fontsize=size, fontweight=weight,
            va="bottom", annotation_clip=False,
        )  # fmt: skip
