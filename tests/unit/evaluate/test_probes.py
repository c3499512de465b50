from functools import partial

import numpy as np
import pytest

from tessera_core.evaluate.probes import (
    predict_forest,
    predict_forest_value,
    predict_knn,
    predict_majority,
    predict_out_of_fold,
    predict_ridge,
    predict_standardised_linear,
)

CLASSIFIERS = {
    "linear": predict_standardised_linear,
    "knn": partial(predict_knn, num_neighbours=5),
    "forest": partial(predict_forest, num_trees=20, seed=0),
}
REGRESSORS = {
    "ridge": predict_ridge,
    "forest": partial(predict_forest_value, num_trees=30, seed=0),
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


def test_each_row_is_predicted_by_a_probe_that_never_saw_its_fold():
    folds = np.array([0, 1, 2, 0, 1, 2])
    truth = np.array([10, 11, 12, 10, 11, 12])
    seen = []

    def remember(train, target, test):
        seen.append((sorted(set(target.tolist())), len(test)))
        return np.full(len(test), -1)

    predicted = predict_out_of_fold(remember, np.zeros((6, 1)), truth, folds)

    assert seen == [([11, 12], 2), ([10, 12], 2), ([10, 11], 2)]
    assert predicted.tolist() == [-1] * 6
