import json
from dataclasses import replace

import numpy as np
import pytest

from tessera_core.evaluate.tasks.crop_type import class_names, score_crop_type
from tests.unit.evaluate.planted import SETTINGS, make_labelled, separable, uninformative

LEGEND = {1200: "maize", 5100: "potato", 2130: "cabbage"}
MODELS = {
    "encoder/linear", "encoder/knn", "encoder_int8/linear", "random_encoder/linear",
    "random_encoder/knn", "raw_forest", "raw/linear", "majority",
}  # fmt: skip


def fields(*, num_maize=12, num_potato=12, num_cabbage=0):
    return make_labelled([1200] * num_maize + [5100] * num_potato + [2130] * num_cabbage)


def test_planted_crops_are_told_apart_and_beat_the_baselines():
    result = score_crop_type(fields(), separable, LEGEND, SETTINGS)

    scores = result.report["scores"]
    assert set(scores) == MODELS
    assert scores["encoder/linear"]["accuracy"]["mean"] > 0.97
    assert scores["encoder/knn"]["accuracy"]["mean"] > 0.97
    assert scores["encoder_int8/linear"]["accuracy"]["mean"] > 0.97
    assert scores["majority"]["balanced_accuracy"]["mean"] == 0.5
    for difference in result.report["differences"].values():
        assert difference["accuracy"]["low"] > 0.2


def test_features_without_knowledge_score_about_chance():
    result = score_crop_type(fields(num_maize=40, num_potato=40), uninformative, LEGEND, SETTINGS)

    for model in MODELS - {"majority"}:
        score = result.report["scores"][model]["balanced_accuracy"]
        assert abs(score["mean"] - 0.5) < 0.12
        assert score["low"] < 0.5 < score["high"]


def test_the_report_has_its_schema_and_is_plain_json():
    report = score_crop_type(fields(), separable, LEGEND, SETTINGS).report

    assert set(report) == {
        "status", "reason", "num_pixels", "num_fields", "classes", "left_out", "scores",
        "differences", "confusion", "curve",
    }  # fmt: skip
    assert report["status"] == "scored"
    assert report["reason"] is None
    assert report["classes"] == {
        "maize": {"code": 1200, "num_fields": 12, "num_pixels": 48},
        "potato": {"code": 5100, "num_fields": 12, "num_pixels": 48},
    }
    assert set(report["differences"]) == {
        "encoder/linear - random_encoder/linear",
        "encoder/linear - raw_forest",
        "encoder/linear - raw/linear",
    }
    for scores in report["scores"].values():
        assert set(scores) == {"accuracy", "balanced_accuracy", "macro_f1"}
        for estimate in scores.values():
            assert set(estimate) == {"mean", "low", "high"}
            assert estimate["low"] <= estimate["mean"] <= estimate["high"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_class_of_one_field_is_left_out_and_named():
    result = score_crop_type(fields(num_cabbage=1), separable, LEGEND, SETTINGS)

    assert result.report["left_out"] == {
        "cabbage": {
            "code": 2130,
            "num_fields": 1,
            "num_pixels": 4,
            "reason": "1 field, fewer than 3 folds",
        }
    }
    assert set(result.report["classes"]) == {"maize", "potato"}
    assert 2130 not in result.scored.truth


@pytest.mark.parametrize(
    ("labelled", "reason"),
    [
        (make_labelled([]), "no d-pixel has a crop label"),
        (fields(num_potato=0), "1 of 1 labelled classes have 3 fields or more"),
        (fields(num_maize=2, num_potato=2), "0 of 2 labelled classes have 3 fields or more"),
    ],
)
def test_too_little_truth_skips_the_task_with_a_reason(labelled, reason):
    result = score_crop_type(labelled, separable, LEGEND, SETTINGS)

    assert result.report["status"] == "skipped"
    assert reason in result.report["reason"]
    assert result.report["scores"] == {}
    assert result.report["curve"] is None
    assert not result.predictions


def test_a_field_is_predicted_only_by_models_that_never_saw_it():
    """Features mark the field itself, and fields of one class share nothing."""

    def marked(labelled):
        marks = np.eye(200, dtype=np.float32)[labelled.group - 100]
        return replace(
            uninformative(labelled), encoder=marks, encoder_int8=marks, random_encoder=marks
        )

    result = score_crop_type(fields(num_maize=30, num_potato=30), marked, LEGEND, SETTINGS)

    assert result.report["scores"]["encoder/linear"]["accuracy"]["mean"] < 0.7


def test_the_confusion_matrix_counts_every_d_pixel_once():
    result = score_crop_type(fields(num_maize=9), uninformative, LEGEND, SETTINGS)

    counts = np.array(result.report["confusion"]["counts"])
    assert counts.sum(axis=1).tolist() == [36, 48]
    hits = (result.predictions["encoder/linear"] == result.scored.truth).sum()
    assert np.trace(counts) == hits


def test_equal_inputs_give_equal_reports():
    first, second = (score_crop_type(fields(), uninformative, LEGEND, SETTINGS) for _ in range(2))

    assert first.report == second.report


def test_an_unknown_code_is_called_by_its_number_and_equal_names_are_kept_apart():
    names = class_names([1, 2, 3, 4], {1: "grass", 2: "grass", 3: "maize"})

    assert names == {1: "grass (1)", 2: "grass (2)", 3: "maize", 4: "4"}
