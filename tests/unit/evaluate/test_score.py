"""One task from examples to scores, with answers that were planted."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tessera_core.domain.scores import Kind
from tessera_core.records.labels import class_names
from tessera_core.scoring.score import score_task
from tests.unit.evaluate.planted import (
    METRICS,
    SETTINGS,
    make_benchmark,
    make_examples,
    separable,
    uninformative,
)

LEGEND = {1200: "maize", 5100: "potato", 2130: "cabbage"}


def fields(*, num_maize=12, num_potato=12, num_cabbage=0):
    return make_examples([1200] * num_maize + [5100] * num_potato + [2130] * num_cabbage)


def score(examples, featurise, kind=Kind.CLASSIFICATION, **changes):
    benchmark = make_benchmark(kind, **changes)
    return score_task(benchmark, examples, featurise, LEGEND, SETTINGS)


@pytest.fixture(scope="module")
def separated():
    return score(fields(), separable)


def test_planted_crops_are_told_apart_and_beat_the_baselines(separated):
    scores = separated.report["scores"]
    for model in ("encoder/linear", "encoder/knn", "encoder/mlp", "encoder_int8/linear"):
        assert scores[model]["accuracy"]["mean"] > 0.97
    assert scores["majority"]["balanced_accuracy"]["mean"] == 0.5
    baselines = {name for name in scores if not name.startswith("encoder")}
    assert separated.report["differences"].keys() == {
        f"encoder/linear - {name}" for name in baselines
    }
    for difference in separated.report["differences"].values():
        assert difference["accuracy"]["low"] > 0.1


def test_features_without_knowledge_score_about_chance():
    result = score(fields(num_maize=40, num_potato=40), uninformative)

    for model, scores in result.report["scores"].items():
        if model != "majority":
            assert abs(scores["balanced_accuracy"]["mean"] - 0.5) < 0.15


def test_the_report_is_plain_json_with_ordered_intervals(separated):
    report = separated.report

    assert report["classes"] == {
        "maize": {"code": 1200, "num_groups": 12, "num_pixels": 48},
        "potato": {"code": 5100, "num_groups": 12, "num_pixels": 48},
    }
    for scores in report["scores"].values():
        assert set(scores) == set(METRICS[Kind.CLASSIFICATION])
        for estimate in scores.values():
            assert estimate["low"] <= estimate["mean"] <= estimate["high"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_class_of_one_field_is_left_out_and_named():
    result = score(fields(num_cabbage=1), separable)

    assert result.report["left_out"] == {
        "cabbage": {
            "code": 2130,
            "num_groups": 1,
            "num_pixels": 4,
            "reason": "1 group, fewer than the 3 that a split needs",
        }
    }
    assert set(result.report["classes"]) == {"maize", "potato"}
    assert 2130 not in result.scored.truth


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        (None, "no d-pixel has a label: there is no crop_type.tif"),
        (fields(num_potato=0), "1 of 1 labelled classes have 3 groups or more"),
        (fields(num_maize=2, num_potato=2), "0 of 2 labelled classes have 3 groups or more"),
    ],
)
def test_too_little_truth_skips_the_task_with_a_reason(examples, reason):
    result = score(examples, separable)

    assert result.report["status"] == "skipped"
    assert reason in result.report["reason"]
    assert result.report["scores"] == {}
    assert not result.predictions


def test_data_that_is_not_there_skips_the_task():
    result = score_task(
        make_benchmark(), None, separable, LEGEND, SETTINGS, absent="there is no folder x"
    )

    assert result.report["reason"] == "there is no folder x"


def test_a_field_is_predicted_only_by_models_that_never_saw_it():
    """Features mark the field itself, and fields of one class share nothing."""

    def marked(examples):
        marks = np.eye(200, dtype=np.float32)[examples.group - 100]
        return {**uninformative(examples), "encoder": marks}

    result = score(fields(num_maize=30, num_potato=30), marked)

    assert result.report["scores"]["encoder/linear"]["accuracy"]["mean"] < 0.7


def test_one_place_in_two_years_never_learns_from_itself():
    """Every place is there twice, under two field ids, and its features mark the place."""
    truth = [1200, 5100] * 20
    once = make_examples(truth, num_per_group=1)
    twice = replace(make_examples(truth * 2, num_per_group=1), position=np.tile(once.position, 2))

    def marked(examples):
        marks = np.eye(len(once), dtype=np.float32)[examples.position]
        return {**uninformative(examples), "encoder": marks}

    result = score(twice, marked)

    assert result.report["scores"]["encoder/linear"]["accuracy"]["mean"] < 0.75


def test_the_confusion_matrix_counts_every_d_pixel_once():
    result = score(fields(num_maize=9), uninformative)

    counts = np.array(result.report["confusion"]["counts"])
    assert counts.sum(axis=1).tolist() == [36, 48]


def test_planted_heights_are_explained():
    examples = make_examples(np.linspace(2, 30, 24))

    def telling(examples):
        features = uninformative(examples)
        known = np.repeat(examples.truth[:, None], 6, axis=1).astype(np.float32)
        return {**features, "encoder": known, "encoder_int8": known}

    report = score(examples, telling, Kind.REGRESSION).report

    assert report["scores"]["encoder/ridge"]["r2"]["mean"] > 0.9
    assert report["scores"]["mean"]["r2"]["mean"] < 0.05
    assert report["curve"] is None
    assert report["shares"]["series"]["encoder/ridge"]["mean"][-1] > 0.9


def test_equal_heights_leave_nothing_to_explain():
    report = score(make_examples([7.0] * 12), uninformative, Kind.REGRESSION).report

    assert report["reason"] == "all labels are 7: there is nothing to explain"


def test_planted_changes_are_found():
    examples = make_examples([0.0] * 20 + [1.0] * 8)

    report = score(examples, separable, Kind.CHANGE).report

    assert report["scores"]["encoder/linear"]["f1"]["mean"] > 0.95


def test_planted_labels_of_patches_are_found_together():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, (60, 2)).astype(np.float64)
    examples = replace(
        make_examples([0.0] * 60, num_per_group=1), truth=truth, label_codes=(1200, 5100)
    )

    def telling(examples):
        known = np.repeat(examples.truth, 3, axis=1).astype(np.float32)
        return {**uninformative(examples), "encoder": known, "encoder_int8": known}

    report = score(examples, telling, Kind.MULTILABEL).report

    assert report["scores"]["encoder/linear"]["macro_f1"]["mean"] > 0.97
    assert set(report["classes"]) == {"maize", "potato"}


def test_without_baselines_only_the_encoder_is_scored():
    result = score_task(
        make_benchmark(),
        fields(),
        lambda examples: {"encoder": separable(examples)["encoder"]},
        LEGEND,
        SETTINGS,
        with_baselines=False,
    )

    assert {model.split("/")[0] for model in result.report["scores"]} == {"encoder"}
    assert set(result.report["curve"]["series"]) == {"encoder/linear", "encoder/few_shot"}
    assert result.report["shares"] is None


def test_regions_are_scored_apart_and_carried_over(separated):
    assert set(separated.report["regions"]) == {"even", "odd"}
    carried = separated.report["transfer"]["region"]
    assert carried["scores"]["odd"]["encoder/linear"] > 0.97
    assert separated.report["transfer"]["year"]["status"] == "skipped"


def test_names_are_distinct_even_where_the_legend_is_not():
    names = class_names([1, 2, 3], {1: "grass", 2: "grass"})

    assert names == {1: "grass (1)", 2: "grass (2)", 3: "3"}
