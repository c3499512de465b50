"""Two versions in one figure, and the spectrum of one."""

import io
from typing import Any

from matplotlib.figure import Figure

from tessera_core.pages.pair_figures import draw_spectra, draw_two_curves


def png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, metadata={"Software": None})
    return picture.getvalue()


def report(shift: float) -> dict[str, Any]:
    series = {"mean": [0.4 + shift, 0.6], "low": [0.3, 0.5], "high": [0.6, 0.7]}
    return {
        "title": "Crop type",
        "compared": "encoder/linear",
        "curve": {
            "labels_per_class": [1, 10], "metric": "balanced_accuracy", "chance": 0.25,
            "num_draws": 20, "series": {"encoder/linear": series},
        },
    }  # fmt: skip


def test_both_versions_are_lines_of_one_figure_and_named() -> None:
    figure = draw_two_curves(report(0), report(0.1), ["v1", "v2"], is_simulated=True)

    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["v1", "v2", "chance"]
    assert [line.get_ydata()[0] for line in axes.lines[:2]] == [0.4, 0.5]
    assert png(figure).startswith(b"\x89PNG")


def test_a_collapsed_direction_can_be_drawn() -> None:
    figure = draw_spectra({"v1": [2.0, 1.0, 0.0], "v2": [0.0]}, is_simulated=False)

    assert [len(line.get_ydata()) for line in figure.axes[0].lines] == [3, 1]
    assert png(figure).startswith(b"\x89PNG")
