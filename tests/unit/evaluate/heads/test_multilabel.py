"""Several labels at once: each is found, and one that never varies stays as it is."""

from functools import partial

import numpy as np
import pytest

from tessera_core.scoring.heads.multilabel import (
    predict_multilabel,
    predict_multilabel_forest,
    predict_multilabel_mlp,
)

HEADS = {
    "linear": predict_multilabel,
    "forest": partial(predict_multilabel_forest, num_trees=20, seed=0),
    "mlp": partial(predict_multilabel_mlp, seed=0),
}


def planted(num=300, seed=0):
    """Return features and three labels: two signs, and one that every unit has."""
    features = np.random.default_rng(seed).normal(size=(num, 4)).astype(np.float32)
    labels = np.stack([features[:, 0] > 0, features[:, 1] > 0.3, np.ones(num, bool)], axis=1)
    return features, labels.astype(np.int64)


@pytest.mark.parametrize("name", HEADS)
def test_each_label_is_found_and_a_constant_one_is_predicted_as_it_is(name):
    train, truth = planted()
    test, expected = planted(seed=1)

    predicted = HEADS[name](train, truth, test)

    assert predicted.dtype == np.int64
    assert ((predicted == expected).mean(axis=0) > 0.85).all()
    assert (predicted[:, 2] == 1).all()


@pytest.mark.parametrize("name", HEADS)
def test_a_single_label_keeps_its_axis(name):
    train, truth = planted()

    predicted = HEADS[name](train, truth[:, :1], train[:40])

    assert predicted.shape == (40, 1)
    assert (predicted == truth[:40, :1]).mean() > 0.9


@pytest.mark.parametrize("name", HEADS)
def test_the_same_labels_everywhere_are_predicted_everywhere(name):
    train, _ = planted(num=6)

    predicted = HEADS[name](train, np.tile([1, 0], (6, 1)), train[:2])

    assert predicted.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("name", HEADS)
def test_no_test_units_give_no_labels(name):
    train, truth = planted(num=10)

    assert HEADS[name](train, truth, train[:0]).shape == (0, 3)
