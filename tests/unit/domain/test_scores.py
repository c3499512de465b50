"""Metrics as functions of sums over groups, held to scikit-learn and to plain arithmetic."""

import numpy as np
import pytest
from sklearn import metrics

from tessera_core.domain.scores import METRICS, Kind, require_metrics, scores, tally
from tessera_core.errors import ConfigError

NUM, NUM_GROUPS, NUM_CLASSES = 400, 12, 5


def of_all(kind, truth, predicted, num_classes=NUM_CLASSES):
    """Scores from tallies of groups added up."""
    group = np.random.default_rng(1).integers(0, NUM_GROUPS, len(truth))
    sums = tally(kind, truth, predicted, group, NUM_GROUPS, num_classes)
    return {name: float(value) for name, value in scores(kind, sums.sum(axis=0)).items()}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_scores_of_classes_are_those_of_scikit_learn(rng):
    truth = rng.integers(0, NUM_CLASSES, NUM)
    predicted = np.where(rng.random(NUM) < 0.6, truth, rng.integers(0, NUM_CLASSES, NUM))

    found = of_all(Kind.CLASSIFICATION, truth, predicted)

    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
        "weighted_f1": metrics.f1_score(truth, predicted, average="weighted"),
        "mean_iou": metrics.jaccard_score(truth, predicted, average="macro"),
    }
    assert found == pytest.approx(expected)


def test_scores_of_change_add_those_of_the_positive_class(rng):
    truth = (rng.random(NUM) < 0.2).astype(int)
    predicted = np.where(rng.random(NUM) < 0.8, truth, 1 - truth)

    found = of_all(Kind.CHANGE, truth, predicted, num_classes=2)

    assert found["f1"] == pytest.approx(metrics.f1_score(truth, predicted))
    assert found["iou"] == pytest.approx(metrics.jaccard_score(truth, predicted))


def test_scores_of_several_labels_are_those_of_scikit_learn(rng):
    truth = (rng.random((NUM, 3)) < [0.1, 0.4, 0.8]).astype(int)
    predicted = np.where(rng.random((NUM, 3)) < 0.7, truth, 1 - truth)

    found = of_all(Kind.MULTILABEL, truth, predicted, num_classes=3)

    expected = {
        "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
        "micro_f1": metrics.f1_score(truth, predicted, average="micro"),
    }
    assert found == pytest.approx(expected)


def test_scores_of_values_are_those_of_scikit_learn(rng):
    truth = rng.normal(1000, 6, NUM)
    predicted = truth + rng.normal(1, 3, NUM)

    found = of_all(Kind.REGRESSION, truth, predicted)

    assert found["r2"] == pytest.approx(metrics.r2_score(truth, predicted))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, predicted))
    assert found["global_rmse"] == pytest.approx(
        np.sqrt(metrics.mean_squared_error(truth, predicted))
    )
    assert found["bias"] == pytest.approx((predicted - truth).mean())


def test_rmse_per_chip_and_over_all_are_two_numbers():
    error, chip = np.array([1.0, 1.0, 1.0, 1.0, 5.0]), np.array([0, 0, 0, 0, 1])

    sums = tally(Kind.REGRESSION, np.zeros(5), error, chip, 2, 0).sum(axis=0)

    found = scores(Kind.REGRESSION, sums)
    assert float(found["per_chip_rmse"]) == pytest.approx((1 + 5) / 2)
    assert float(found["global_rmse"]) == pytest.approx(np.sqrt((4 * 1 + 25) / 5))


@pytest.mark.parametrize("kind", list(Kind))
def test_scores_of_many_sums_at_once_are_those_of_each(kind, rng):
    num_classes = 2 if kind in (Kind.CHANGE, Kind.MULTILABEL) else 3
    shape = (60, 2) if kind == Kind.MULTILABEL else (60,)
    truth, predicted = rng.integers(0, num_classes, (2, *shape))
    sums = tally(kind, truth, predicted, np.arange(60) % 6, 6, num_classes)

    together = scores(kind, sums)

    for name, values in together.items():
        alone = [float(scores(kind, one)[name]) for one in sums]
        np.testing.assert_allclose(values, alone)
        assert kind in METRICS[name].kinds


def test_a_class_without_truth_does_not_count_in_means_over_classes():
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])

    found = of_all(Kind.CLASSIFICATION, truth, predicted, num_classes=4)

    assert found["balanced_accuracy"] == pytest.approx(0.75)


def test_no_units_and_constant_truth_give_numbers_not_nan():
    flat = tally(Kind.REGRESSION, np.full(4, 3.0), np.full(4, 4.0), np.zeros(4, int), 1, 0)

    nothing = scores(Kind.CLASSIFICATION, np.zeros((3, 3)))

    assert float(scores(Kind.REGRESSION, flat.sum(axis=0))["r2"]) == 0.0
    assert all(np.isfinite(value) for value in nothing.values())


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ((), "it has no metric"),
        (("acuracy",), "acuracy is not a metric"),
        (("r2",), "r2 is no metric of classification"),
    ],
)
def test_metrics_that_a_task_cannot_have_are_refused(chosen, message):
    with pytest.raises(ConfigError, match=f"crops: {message}"):
        require_metrics(Kind.CLASSIFICATION, chosen, "crops")


def test_bias_may_be_reported_and_cannot_decide():
    require_metrics(Kind.REGRESSION, ("r2", "bias"), "height")

    with pytest.raises(ConfigError, match="bias has no better direction"):
        require_metrics(Kind.REGRESSION, ("bias", "r2"), "height")
