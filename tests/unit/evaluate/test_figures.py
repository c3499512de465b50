import numpy as np
import pytest

from tessera_core.benchmarks.gather import MappedTile
from tessera_core.pages.evaluation_figures import (
    class_colours,
    draw_confusion,
    draw_curve,
    draw_map,
    save_png,
)
from tessera_core.testing.tiles import make_grid

REPORT = {
    "title": "Crop type",
    "classes": {"maize": {}, "grass": {}},
    "confusion": {"model": "encoder/linear", "counts": [[3, 1], [0, 0]]},
    "curve": {
        "metric": "balanced_accuracy",
        "chance": 0.5,
        "num_draws": 3,
        "labels_per_class": [1, 10],
        "series": {
            model: {"mean": [0.6, 0.7], "low": [0.5, 0.6], "high": [0.7, 0.8]}
            for model in ("encoder/linear", "random_encoder/linear", "raw/forest")
        },
    },
    "shares": {
        "metric": "r2",
        "num_draws": 3,
        "shares": [0.01, 1.0],
        "series": {"encoder/ridge": {"mean": [-9, 0.7], "low": [-11, 0.6], "high": [-8, 0.8]}},
    },
}


def tiles(*, code=0):
    grid = make_grid()
    row, column = np.indices((grid.height, grid.width)).reshape(2, -1).astype(np.int32)
    embedding = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    crops = np.full(20, code, np.int64)
    return [
        MappedTile(
            name="tile",
            year=2022,
            grid=grid,
            row=row,
            column=column,
            embedding=embedding,
            crop_type=crops,
        )
    ]


def draw(name, *, is_simulated=False):
    if name == "curve":
        return draw_curve(REPORT, "curve", is_simulated=is_simulated)
    if name == "shares":
        return draw_curve(REPORT, "shares", is_simulated=is_simulated)
    if name == "confusion":
        return draw_confusion(REPORT, is_simulated=is_simulated)
    return draw_map(tiles(code=3), {3: "maize"}, is_simulated=is_simulated)


def texts_of(figure):
    return " ".join(
        text.get_text() for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels()]
    )


@pytest.mark.parametrize("name", ["curve", "shares", "confusion", "map"])
def test_equal_numbers_give_equal_bytes(name, tmp_path):
    for number in range(2):
        save_png(draw(name), tmp_path / f"{number}.png")

    first, second = ((tmp_path / f"{number}.png").read_bytes() for number in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"matplotlib" not in first.lower()


@pytest.mark.parametrize("name", ["curve", "shares", "confusion", "map"])
def test_figures_of_simulated_scenes_say_so(name):
    assert "simulated scenes" in texts_of(draw(name, is_simulated=True))
    assert "simulated" not in texts_of(draw(name, is_simulated=False))


def test_lines_that_end_together_keep_their_labels_apart():
    figure = draw("curve")

    labels = [text for text in figure.axes[0].texts if text.xy[0] > 1]
    heights = sorted(text.xy[1] for text in labels)
    assert len(labels) == 4
    assert min(np.diff(heights)) > 0.03


def test_a_confusion_matrix_shows_shares_of_the_true_class():
    text = texts_of(draw("confusion"))

    assert "75 25 0 0" in text
    assert "maize (4)" in text


def test_a_map_without_truth_has_one_panel():
    assert len(draw_map(tiles(), {}, is_simulated=False).axes) == 1
    assert len(draw_map(tiles(code=3), {3: "maize"}, is_simulated=False).axes) == 2


def test_a_class_keeps_its_colour_whatever_order_it_comes_in():
    assert class_colours([5, 1, 9]) == class_colours([9, 5, 1])


def test_a_very_bad_start_does_not_flatten_a_curve_of_r2():
    low, high = draw("shares").axes[0].get_ylim()

    assert -0.6 < low < 0
    assert 0.8 < high < 1
