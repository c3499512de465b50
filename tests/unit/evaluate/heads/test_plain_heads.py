from functools import partial

import numpy as np
import pytest

from tessera_core.domain.scores import Kind
from tessera_core.evaluate.heads.boosting import predict_boosting, predict_boosting_value
from tessera_core.evaluate.heads.constant import predict_majority, predict_mean
from tessera_core.evaluate.heads.forest import predict_forest, predict_forest_value
from tessera_core.evaluate.heads.linear import predict_ridge, predict_standardised_linear
from tessera_core.evaluate.heads.mlp import predict_mlp, predict_mlp_value
from tessera_core.evaluate.heads.neighbours import predict_knn
from tessera_core.evaluate.score import predict_folds
from tessera_core.evaluate.splits import Fold

CLASSIFIERS = {
    "linear": predict_standardised_linear,
    "knn": partial(predict_knn, num_neighbours=5),
    "forest": partial(predict_forest, num_trees=20, seed=0),
    "boosting": partial(predict_boosting, seed=0),
    "mlp": partial(predict_mlp, seed=0),
}
REGRESSORS = {
    "ridge": predict_ridge,
    "forest": partial(predict_forest_value, num_trees=30, seed=0),
    "boosting": partial(predict_boosting_value, seed=0),
    "mlp": partial(predict_mlp_value, seed=0),
}


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

    predicted = CLASSIFIERS[name](train, classes, test)

    assert (predicted == expected).mean() > 0.95


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_shuffled_labels_score_about_chance(name):
    train, classes = planted(seed=0)
    test, expected = planted(seed=1)
    shuffled = np.random.default_rng(2).permutation(classes)

    predicted = CLASSIFIERS[name](train, shuffled, test)

    assert abs((predicted == expected).mean() - 1 / 3) < 0.15


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_planted_slope_is_found(name):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 4)).astype(np.float32)
    height = 15 + 5 * features[:, 0].astype(np.float64)

    predicted = REGRESSORS[name](features[:500], height[:500], features[500:])

    assert np.corrcoef(predicted, height[500:])[0, 1] > 0.9


@pytest.mark.parametrize("probe", [*CLASSIFIERS.values(), *REGRESSORS.values()])
def test_a_probe_repeats_itself_to_the_last_digit(probe):
    train, classes = planted()
    target = classes if probe in CLASSIFIERS.values() else classes.astype(np.float64)

    first, second = (probe(train, target, train[:50]) for _ in range(2))

    assert first.tobytes() == second.tobytes()


def test_more_neighbours_than_labels_let_all_labels_vote():
    train = np.array([[0.0], [1.0], [10.0]], np.float32)

    predicted = predict_knn(train, np.array([1, 1, 2]), np.array([[9.9]]), num_neighbours=50)

    assert predicted.tolist() == [2]


def test_the_majority_is_the_most_frequent_training_class():
    predicted = predict_majority(np.zeros((5, 1)), np.array([4, 7, 7, 4, 1]), np.zeros((2, 1)))

    assert predicted.tolist() == [4, 4]


@pytest.mark.parametrize("name", ["linear", "boosting", "mlp"])
def test_training_rows_of_one_class_alone_give_that_class(name):
    train, _ = planted(num=20)

    predicted = CLASSIFIERS[name](train, np.full(20, 7), train[:3])

    assert predicted.tolist() == [7, 7, 7]


def test_the_mean_is_that_of_the_training_values():
    assert (
        predict_mean(np.zeros((2, 1)), np.array([1.0, 4.0]), np.zeros((3, 1))).tolist() == [2.5] * 3
    )


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
