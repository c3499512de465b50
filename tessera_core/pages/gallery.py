"""The worst fields gallery: where a version errs most, each field drawn in its surroundings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from tessera_core.domain.scores import Kind
from tessera_core.pages.evaluation_figures import FAINT, INK, WARNING, save_png
from tessera_core.pages.mosaic import embedding_colours, latest_year, paint, place_tiles
from tessera_core.records.words import SIMULATED

if TYPE_CHECKING:
    from tessera_core.benchmarks.gather import Gathered, MappedTile
    from tessera_core.scoring.score import TaskResult

NUM_SHOWN: Final = 12
NUM_COLUMNS: Final = 4

MIN_UNITS: Final = 4
"""A field with fewer d-pixels is more likely to be bad luck."""

MARGIN: Final = 8
"""Pixels shown around a field: its neighbours say whether it stands out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorstField:
    """One group of a classification."""

    tile: str
    """Tile that it lies in."""

    row: npt.NDArray[np.int32]
    """(M,), of its tested d-pixels."""

    column: npt.NDArray[np.int32]
    """(M,)."""

    is_right: npt.NDArray[np.bool_]
    """(M,), whether each was told."""

    truth: int
    """Its most frequent true class code."""

    taken_for: int
    """The class code that most of it was taken for."""


def worst_fields(result: "TaskResult", year: int, most: int = NUM_SHOWN) -> list[WorstField]:
    """Return the groups with the smallest share of right answers, larger groups first among equals.

    Groups without an error, or with fewer than ``MIN_UNITS`` tested d-pixels, are left out.

    Args:
        result: A scored classification of single d-pixels.
        year: Units of other years are left out.
        most: Groups to return.
    """
    if result.scored is None or result.truth is None:
        return []
    predicted = result.predictions[str(result.report["compared"])]
    rows = np.flatnonzero(np.isfinite(predicted) & (result.scored.year == year))
    rows = rows[np.argsort(result.group[rows], kind="stable")]
    cuts = np.flatnonzero(np.diff(result.group[rows])) + 1
    fields = [
        _field(result, predicted, part) for part in np.split(rows, cuts) if len(part) >= MIN_UNITS
    ]
    wrong = [field for field in fields if not field.is_right.all()]
    wrong.sort(key=lambda one: (one.is_right.mean(), -len(one.row)))
    return wrong[:most]


def draw_galleries(
    folder: Path, results: "Mapping[str, TaskResult]", gathered: "Gathered", *, is_simulated: bool
) -> None:
    """Draw ``worst-<task>.png`` for every scored classification of d-pixels that are mapped."""
    for name, result in results.items():
        if not result.is_scored or result.report["kind"] != Kind.CLASSIFICATION:
            continue
        figure = draw_gallery(
            result, gathered.tiles, gathered.legends[name], is_simulated=is_simulated
        )
        if figure is not None:
            save_png(figure, folder / f"worst-{name}.png")


def draw_gallery(
    result: "TaskResult",
    tiles: "Sequence[MappedTile]",
    names: Mapping[int, str],
    *,
    is_simulated: bool,
) -> Figure | None:
    """Draw the worst fields over the embeddings as colours; None where there is none.

    Args:
        result: A scored classification.
        tiles: What can be drawn; the latest year is.
        names: Class names by code.
        is_simulated: Whether to say that the scenes are.
    """
    if not tiles:
        return None
    shown = latest_year(tiles)
    by_name = {tile.name: number for number, tile in enumerate(shown)}
    fields = [one for one in worst_fields(result, shown[0].year) if one.tile in by_name]
    if not fields:
        return None
    colours, _ = embedding_colours(shown)
    num_rows = -(-len(fields) // NUM_COLUMNS)
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(2.5 * NUM_COLUMNS, 3.2 * num_rows + 0.6))
        figure.set_layout_engine("constrained", h_pad=0.22)
        panels = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, field in zip(panels, fields, strict=False):
            number = by_name[field.tile]
            tile = shown[number]
            picture = paint([tile], place_tiles([tile.grid]), [colours[number]])
            _draw_field(axes, field, picture, names)
        title = "Worst fields: embeddings as colours; dots are told, crosses are not"
        figure.suptitle(title, color=INK, fontsize=12, fontweight="bold", ha="left", x=0.01)
        if is_simulated:
            figure.supxlabel(SIMULATED, color=WARNING, fontsize=9.5, fontweight="bold")
    return figure


def _draw_field(axes: Any, field: WorstField, picture: Any, names: Mapping[int, str]) -> None:
    axes.imshow(picture, interpolation="nearest")
    for told, marker in ((True, "o"), (False, "x")):
        some = field.is_right == told
        axes.scatter(
            field.column[some], field.row[some], s=10, marker=marker,
            c="white" if told else "black", linewidths=1,
        )  # fmt: skip
    middle_row, middle_column = (
        (int(each.min()) + int(each.max())) / 2 for each in (field.row, field.column)
    )
    half = MARGIN + max(int(np.ptp(field.row)), int(np.ptp(field.column))) / 2
    axes.set_xlim(middle_column - half, middle_column + half)
    axes.set_ylim(middle_row + half, middle_row - half)
    truth, guess = (names.get(code, str(code)) for code in (field.truth, field.taken_for))
    axes.set_title(f"{truth}\ntaken for {guess}", color=INK, fontsize=9, loc="left")
    count = f"{int(field.is_right.sum())} of {len(field.row)} told"
    where = f"{field.tile}, row {int(middle_row)}, column {int(middle_column)}"
    axes.text(
        0, -0.02, f"{count}\n{where}", transform=axes.transAxes, color=FAINT, fontsize=7, va="top"
    ).set_in_layout(False)


def _field(
    result: "TaskResult", predicted: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> WorstField:
    scored, truth = result.scored, result.truth
    assert scored is not None  # noqa: S101 - the caller looked
    assert truth is not None  # noqa: S101 - likewise
    is_right = predicted[rows] == truth[rows]
    guesses = predicted[rows][~is_right]
    return WorstField(
        tile=str(scored.tile[rows[0]]),
        row=scored.row[rows],
        column=scored.column[rows],
        is_right=is_right,
        truth=_most_frequent(truth[rows]),
        taken_for=_most_frequent(guesses if len(guesses) else predicted[rows]),
    )


def _most_frequent(codes: npt.NDArray[np.float64]) -> int:
    values, counts = np.unique(codes, return_counts=True)
    return int(values[counts.argmax()])
