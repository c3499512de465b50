"""Every head finds what is planted, repeats itself, and says what it cannot learn from."""

from functools import partial

import numpy as np
import pytest
import torch

from tessera_core.benchmarks.splits import Fold
from tessera_core.domain.scores import Kind
from tessera_core.errors import InputError
from tessera_core.scoring.heads.boosting import predict_boosting, predict_boosting_value
from tessera_core.scoring.heads.constant import predict_majority, predict_mean
from tessera_core.scoring.heads.context import predict_context
from tessera_core.scoring.heads.forest import predict_forest, predict_forest_value
from tessera_core.scoring.heads.linear import predict_ridge, predict_standardised_linear
from tessera_core.scoring.heads.mlp import predict_mlp, predict_mlp_value
from tessera_core.scoring.heads.neighbours import predict_knn
from tessera_core.scoring.heads.temporal_cnn import (
    predict_temporal_cnn,
    predict_temporal_cnn_value,
)
from tessera_core.scoring.score import predict_folds


def predict_context_whole(train, classes, test, **settings):
    """The head of neighbourhoods, asked in two blocks."""
    return predict_context(train, classes, np.array_split(test, 2), **settings)


CLASSIFIERS = {
    "linear": predict_standardised_linear,
    "knn": partial(predict_knn, num_neighbours=5),
    "forest": partial(predict_forest, num_trees=20, seed=0),
    "boosting": partial(predict_boosting, seed=0),
    "mlp": partial(predict_mlp, seed=0, num_steps=40),
    "temporal_cnn": partial(predict_temporal_cnn, seed=0, num_steps=50),
    "context": partial(predict_context_whole, seed=0, num_steps=30),
}
REGRESSORS = {
    "ridge": predict_ridge,
    "forest": partial(predict_forest_value, num_trees=30, seed=0),
    "boosting": partial(predict_boosting_value, seed=0),
    "mlp": partial(predict_mlp_value, seed=0, num_steps=60),
    "temporal_cnn": partial(predict_temporal_cnn_value, seed=0, num_steps=60),
}
CONSTANTS = {"majority": predict_majority, "mean": predict_mean}
HEADS = [
    *((name, head, np.int64) for name, head in CLASSIFIERS.items()),
    *((name, head, np.float64) for name, head in REGRESSORS.items()),
]
NAMES = [f"{name}-{kind.__name__}" for name, _, kind in HEADS]
every_head = pytest.mark.parametrize(("name", "head", "kind"), HEADS, ids=NAMES)

RESTING = {"temporal_cnn": (6, 1), "context": (5, 5, 1)}
"""Axes that some heads have between rows and features."""


def laid_out(name, features_ND):
    """Return rows in the shape that a head reads: the same features at every time or place."""
    if name not in RESTING:
        return features_ND
    tall = features_ND.reshape(len(features_ND), *(1 for _ in RESTING[name][:-1]), -1)
    return np.tile(tall, (1, *RESTING[name]))


def planted(num=400, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, num) * 1000 + 200
    centres = {200: (0, 0), 1200: (6, 0), 2200: (0, 6)}
    features = np.array([centres[code] for code in classes]) + rng.normal(size=(num, 2))
    return features.astype(np.float32), classes


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_planted_classes_are_found(name):
    train, classes = planted(seed=0)
    test, expected = planted(seed=1)

    predicted = CLASSIFIERS[name](laid_out(name, train), classes, laid_out(name, test))

    assert predicted.dtype == np.int64
    assert (predicted == expected).mean() > 0.95


@pytest.mark.parametrize("name", ["linear", "knn", "forest"])
def test_shuffled_labels_score_about_chance(name):
    train, classes = planted(seed=0)
    test, expected = planted(seed=1)
    shuffled = np.random.default_rng(2).permutation(classes)

    predicted = CLASSIFIERS[name](train, shuffled, test)

    assert abs((predicted == expected).mean() - 1 / 3) < 0.15


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_features_that_say_nothing_score_about_chance(name):
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 3, 700)
    rows = laid_out(name, rng.normal(size=(700, 8)).astype(np.float32))

    predicted, expected = CLASSIFIERS[name](rows[:400], classes[:400], rows[400:]), classes[400:]

    assert abs((predicted == expected).mean() - 1 / 3) < 0.15


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_two_labels_per_class_are_enough_for_classes_far_apart(name):
    train, classes = planted()
    few = np.concatenate([np.flatnonzero(classes == code)[:2] for code in np.unique(classes)])
    test, expected = planted(seed=1)

    predicted = CLASSIFIERS[name](laid_out(name, train[few]), classes[few], laid_out(name, test))

    assert (predicted == expected).mean() > 0.6


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_planted_slope_is_found(name):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 4)).astype(np.float32)
    height = 15 + 5 * features[:, 0].astype(np.float64)
    rows = laid_out(name, features)

    predicted = REGRESSORS[name](rows[:500], height[:500], rows[500:])

    assert predicted.dtype == np.float64
    assert np.corrcoef(predicted, height[500:])[0, 1] > 0.9
    assert abs(predicted.mean() - height[500:].mean()) < 1


@every_head
def test_a_head_repeats_itself_to_the_last_digit_and_leaves_everything_as_it_was(name, head, kind):
    train, classes = planted(num=60)
    rows = laid_out(name, train)
    chance, num_threads = torch.get_rng_state(), torch.get_num_threads()

    first, second = (head(rows, classes.astype(kind), rows[:20]) for _ in range(2))

    assert first.tobytes() == second.tobytes()
    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.get_num_threads() == num_threads


@pytest.mark.parametrize("name", ["mlp", "temporal_cnn", "context"])
def test_a_network_depends_on_its_own_seed_only(name):
    train, classes = planted(num=60)
    shuffled = np.random.default_rng(2).permutation(classes)
    rows, asked = laid_out(name, train), laid_out(name, planted(seed=1)[0])

    first = CLASSIFIERS[name](rows, shuffled, asked)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        second = CLASSIFIERS[name](rows, shuffled, asked)
    other = CLASSIFIERS[name](rows, shuffled, asked, seed=1)

    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@every_head
def test_one_truth_alone_is_predicted_for_every_row(name, head, kind):
    rows = laid_out(name, planted(num=8)[0])

    predicted = head(rows[:5], np.full(5, 1200, kind), rows[5:])

    assert predicted.tolist() == [1200] * 3
    assert predicted.dtype == kind


@every_head
def test_no_test_rows_give_no_predictions(name, head, kind):
    train, classes = planted(num=10)
    rows = laid_out(name, train)

    predicted = head(rows, classes.astype(kind), rows[:0])

    assert predicted.shape == (0,)
    assert predicted.dtype == kind


@every_head
def test_rows_that_teach_nothing_are_refused(name, head, kind):
    train, classes = planted(num=10)
    rows, truth = laid_out(name, train), classes.astype(kind)
    holed = rows.copy()
    holed.reshape(10, -1)[3, 0] = np.nan

    with pytest.raises(InputError, match="0 training rows and the truth of 0"):
        head(rows[:0], truth[:0], rows)
    with pytest.raises(InputError, match="10 training rows and the truth of 9"):
        head(rows, truth[:9], rows)
    with pytest.raises(InputError, match=r"1 of .* numbers in the training features .* not finite"):
        head(holed, truth, rows)
    with pytest.raises(InputError, match=r"1 of .* numbers in the test features .* not finite"):
        head(rows, truth, holed)
    with pytest.raises(InputError, match="expected the same features on both sides"):
        head(rows, truth, rows[..., :-1])


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_value_that_is_not_known_is_refused(name):
    train, classes = planted(num=10)
    rows, values = laid_out(name, train), classes.astype(np.float64)
    values[2] = np.nan

    with pytest.raises(InputError, match="1 of 10 numbers in the truth"):
        REGRESSORS[name](rows, values, rows)


@every_head
def test_a_feature_that_is_constant_in_training_changes_nothing_but_a_shift(name, head, kind):
    train, classes = planted(num=60)
    # Not a number that float32 can average exactly.
    extended = np.concatenate([train, np.full((60, 1), 0.1, np.float32)], axis=1)
    rows = laid_out(name, extended)

    predicted = head(rows, classes.astype(kind), rows)

    assert np.isfinite(predicted).all()
    assert np.corrcoef(predicted, classes)[0, 1] > 0.8


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_answer_needs_a_label_too(name):
    with pytest.raises(InputError, match="0 training rows"):
        CONSTANTS[name](np.zeros((0, 1)), np.zeros(0), np.zeros((2, 1)))


def test_more_neighbours_than_labels_let_all_labels_vote():
    train = np.array([[0.0], [1.0], [10.0]], np.float32)

    predicted = predict_knn(train, np.array([1, 1, 2]), np.array([[9.9]]), num_neighbours=50)

    assert predicted.tolist() == [2]


def test_the_majority_is_the_most_frequent_training_class():
    predicted = predict_majority(np.zeros((5, 1)), np.array([4, 7, 7, 4, 1]), np.zeros((2, 1)))

    assert predicted.tolist() == [4, 4]


def test_the_mean_is_that_of_the_training_values():
    predicted = predict_mean(np.zeros((2, 1)), np.array([4.0, 7.0]), np.zeros((3, 1)))

    assert predicted.tolist() == [5.5] * 3


def test_a_temporal_network_reads_when_and_not_only_what():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 300)
    series = rng.normal(size=(300, 24, 3)).astype(np.float32) * 0.3
    peak = np.where(classes == 0, 6, 16)
    series[np.arange(300), peak, 0] += 3

    predicted = predict_temporal_cnn(
        series[:200], classes[:200], series[200:], seed=0, num_steps=60
    )

    assert (predicted == classes[200:]).mean() > 0.95


def test_a_neighbourhood_tells_what_its_middle_does_not():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 300)
    around = rng.normal(size=(300, 5, 5, 3)).astype(np.float32)
    around[classes == 1, 0] += 2
    around[classes == 0, 4] += 2

    predicted = predict_context(around[:200], classes[:200], [around[200:]], seed=0, num_steps=40)

    assert (predicted == classes[200:]).mean() > 0.95


def test_a_neighbourhood_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"\(2, 3, 3, 1\), expected \(rows, 5, 5, features\)"):
        predict_context(np.zeros((2, 3, 3, 1)), np.array([0, 1]), [np.zeros((1, 3, 3, 1))], seed=0)


def test_a_unit_is_predicted_by_a_head_that_never_saw_its_fold():
    truth = np.array([10.0, 11.0, 12.0, 10.0, 11.0, 12.0])
    sides = [np.array([0, 3]), np.array([1, 4])]
    folds = [Fold(train=np.setdiff1d(np.arange(6), test), test=test) for test in sides]
    seen = []

    def remember(train, target, test):
        seen.append(sorted(set(target.tolist())))
        return np.full(len(test), -1)

    model = (remember, "encoder")
    features = {"encoder": np.zeros((6, 1))}
    predicted = predict_folds(model, features, truth, Kind.CLASSIFICATION, folds)

    assert seen == [[11, 12], [10, 12]]
    assert predicted[[0, 1, 3, 4]].tolist() == [-1] * 4
    assert np.isnan(predicted[[2, 5]]).all()


def test_a_head_learns_from_a_draw_of_a_large_fold_and_answers_all_of_it(monkeypatch):
    monkeypatch.setattr("tessera_core.scoring.score.MAX_LEARNT", 10)
    truth = np.arange(60.0)
    folds = [Fold(train=np.arange(20, 60), test=np.arange(20))]
    seen = []

    def remember(train, target, test):
        seen.extend(target.tolist())
        return np.zeros(len(test))

    predicted = predict_folds(
        (remember, "encoder"), {"encoder": np.zeros((60, 1))}, truth, Kind.REGRESSION, folds
    )

    assert len(set(seen)) == 10
    assert set(seen) <= set(range(20, 60))
    assert np.isfinite(predicted[:20]).all()
