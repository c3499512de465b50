from dataclasses import replace

import numpy as np

from tessera_core.evaluate.curve import label_curve, rank_within
from tessera_core.pretrain.probe import grouped_folds
from tests.unit.evaluate.planted import SETTINGS, make_labelled, separable, uninformative

NAMES = {10: "maize", 20: "potato", 30: "grass"}


def curve_of(featurise, settings=SETTINGS, num_fields=12):
    labelled = make_labelled([list(NAMES)[field % 3] for field in range(num_fields)])
    codes = labelled.truth.astype(np.int64)
    folds = grouped_folds(codes, labelled.group, settings.num_folds, settings.seed)
    return label_curve(featurise(labelled), codes, folds, NAMES, settings)


def test_informative_embeddings_need_few_labels_and_noise_stays_at_chance():
    series = curve_of(separable, replace(SETTINGS, num_draws=6), num_fields=30)["series"]

    assert series["encoder/linear"]["mean"][-1] > 0.95
    assert abs(series["random_encoder/linear"]["mean"][-1] - 1 / 3) < 0.15
    assert abs(series["raw_forest"]["mean"][-1] - 1 / 3) < 0.15


def test_every_point_has_a_mean_within_its_range():
    curve = curve_of(uninformative)

    assert curve["labels_per_class"] == [1, 4]
    assert curve["chance"] == 0.333333
    assert set(curve["series"]) == {"encoder/linear", "random_encoder/linear", "raw_forest"}
    for series in curve["series"].values():
        for low, mean, high in zip(series["low"], series["mean"], series["high"], strict=True):
            assert low <= mean <= high


def test_a_count_that_a_class_cannot_reach_is_capped_and_said():
    curve = curve_of(separable, replace(SETTINGS, labels_per_class=(2, 500)))

    # Four fields of a class, at most three of them in training, four d-pixels each.
    assert set(curve["capped"]) == {"500"}
    assert set(curve["capped"]["500"]) == set(NAMES.values())
    assert all(8 <= most <= 12 for most in curve["capped"]["500"].values())


def test_the_curve_repeats_itself_and_follows_the_seed():
    first = curve_of(uninformative)

    assert first == curve_of(uninformative)
    assert first != curve_of(uninformative, replace(SETTINGS, seed=6))


def test_labels_of_a_draw_contain_those_of_a_smaller_one():
    classes = np.array([3, 5, 3, 3, 5])

    rank = rank_within(classes)

    assert rank.tolist() == [0, 0, 1, 2, 1]
