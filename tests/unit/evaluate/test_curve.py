from dataclasses import replace

import numpy as np
import pytest

from tessera_core.benchmarks.splits import split_units
from tessera_core.domain.scores import Kind
from tessera_core.scoring.curve import count_curve, rank_within, share_curve
from tests.unit.evaluate.planted import (
    SETTINGS,
    make_benchmark,
    make_examples,
    separable,
    uninformative,
)

NAMES = ("maize", "potato", "grass")


def divided(settings=SETTINGS, num_fields=12):
    """Return examples of three crops, their class numbers, and folds."""
    examples = make_examples([10 * (field % 3) for field in range(num_fields)])
    truth = (examples.truth / 10).astype(np.int64)
    folds = split_units(
        make_benchmark().split, truth, examples.group, examples.position, examples.region,
        examples.given, num_folds=settings.num_folds, seed=settings.seed,
    )  # fmt: skip
    return examples, truth, folds


def curve_of(featurise, settings=SETTINGS, num_fields=12):
    examples, truth, folds = divided(settings, num_fields)
    return count_curve(
        Kind.CLASSIFICATION, featurise(examples), truth, examples.group, folds, NAMES, settings
    )


def test_informative_embeddings_need_few_labels_and_noise_stays_at_chance():
    series = curve_of(separable, replace(SETTINGS, num_draws=6), num_fields=30)["series"]

    assert series["encoder/linear"]["mean"][-1] > 0.95
    assert abs(series["random_encoder/linear"]["mean"][-1] - 1 / 3) < 0.15
    assert abs(series["raw/forest"]["mean"][-1] - 1 / 3) < 0.15


def test_every_point_has_a_mean_within_its_range():
    curve = curve_of(uninformative)

    assert curve["labels_per_class"] == [1, 4]
    assert curve["chance"] == 0.333333
    assert set(curve["series"]) == {
        "encoder/linear", "encoder/few_shot", "random_encoder/linear", "raw/forest",
    }  # fmt: skip
    for series in curve["series"].values():
        for low, mean, high in zip(series["low"], series["mean"], series["high"], strict=True):
            assert low <= mean <= high


def test_a_count_that_a_class_cannot_reach_is_capped_and_said():
    curve = curve_of(separable, replace(SETTINGS, labels_per_class=(2, 500)))

    # Four fields of a class, at most three of them in training, four d-pixels each.
    assert set(curve["capped"]) == {"500"}
    assert set(curve["capped"]["500"]) == set(NAMES)
    assert all(8 <= most <= 12 for most in curve["capped"]["500"].values())


def test_the_curve_repeats_itself_and_follows_the_seed():
    first = curve_of(uninformative)

    assert first == curve_of(uninformative)
    assert first != curve_of(uninformative, replace(SETTINGS, seed=6))


def test_labels_of_a_draw_contain_those_of_a_smaller_one():
    classes = np.array([3, 5, 3, 3, 5])

    rank = rank_within(classes)

    assert rank.tolist() == [0, 0, 1, 2, 1]


def test_the_area_of_a_flat_curve_is_its_height():
    curve = curve_of(separable, replace(SETTINGS, labels_per_class=(4, 8)))

    assert curve["area"]["encoder/linear"]["mean"] == pytest.approx(
        np.mean(curve["series"]["encoder/linear"]["mean"]), abs=1e-5
    )


def test_all_labels_score_as_much_as_few_where_few_are_enough():
    examples, truth, folds = divided(num_fields=30)

    curve = share_curve(
        Kind.CLASSIFICATION, separable(examples), truth, examples.group, folds, 3,
        "balanced_accuracy", SETTINGS,
    )  # fmt: skip

    assert curve["shares"] == [0.1, 1.0]
    assert curve["series"]["encoder/linear"]["mean"][-1] > 0.95
    assert set(curve["area"]) == set(curve["series"])


def test_a_share_that_draws_one_class_alone_predicts_it():
    examples, truth, folds = divided()

    curve = share_curve(
        Kind.CLASSIFICATION, separable(examples), truth, examples.group, folds, 3,
        "balanced_accuracy", replace(SETTINGS, label_shares=(0.001,)),
    )  # fmt: skip

    assert curve["series"]["encoder/linear"]["mean"][0] == pytest.approx(1 / 3, abs=1e-6)
