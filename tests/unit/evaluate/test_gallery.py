"""The worst fields are found, ordered and drawn."""

import numpy as np
import pytest

from tessera_core.benchmarks.gather import MappedTile
from tessera_core.pages.gallery import draw_gallery, worst_fields
from tessera_core.scoring.score import TaskResult
from tessera_core.testing.tiles import make_grid
from tests.unit.evaluate.planted import make_examples


@pytest.fixture
def result() -> TaskResult:
    """Three fields of four d-pixels: all told, one not told, none told."""
    examples = make_examples([1, 1, 2])
    predicted = examples.truth.copy()
    predicted[4] = 2
    predicted[8:] = 7
    return TaskResult(
        report={"compared": "encoder/linear", "status": "scored", "kind": "classification"},
        scored=examples,
        group=examples.group - 100,
        truth=examples.truth,
        predictions={"encoder/linear": predicted},
    )


def mapped() -> MappedTile:
    grid = make_grid()
    row, column = np.indices((grid.height, grid.width)).reshape(2, -1).astype(np.int32)
    embedding = np.random.default_rng(0).normal(size=(len(row), 4)).astype(np.float32)
    return MappedTile(
        name="tile", year=2022, grid=grid, row=row, column=column, embedding=embedding,
        crop_type=np.zeros(len(row), np.int64),
    )  # fmt: skip


def test_fields_come_worst_first_and_those_without_error_are_left_out(result):
    worst = worst_fields(result, 2022)

    assert [one.is_right.sum() for one in worst] == [0, 3]
    assert [(one.truth, one.taken_for) for one in worst] == [(2, 7), (1, 2)]
    assert len(worst_fields(result, 2022, most=1)) == 1


def test_fields_of_another_year_are_left_out(result):
    assert worst_fields(result, 2021) == []


def test_the_gallery_names_what_was_taken_for_what(result):
    figure = draw_gallery(result, [mapped()], {1: "maize", 2: "grass"}, is_simulated=True)

    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["grass\ntaken for 7", "maize\ntaken for grass"]
    assert "imulated" in figure.get_supxlabel()


def test_without_a_mapped_tile_there_is_no_gallery(result):
    assert draw_gallery(result, [], {}, is_simulated=False) is None
