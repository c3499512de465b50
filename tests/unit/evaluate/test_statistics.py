import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, r2_score

from tessera_core.evaluate.statistics import (
    Estimate,
    classification_scores,
    confusion_by_group,
    estimate,
    estimate_difference,
    interval,
    moments_by_group,
    regression_scores,
    resample_counts,
)

NUM_SIMULATIONS = 120
NUM_FIELDS = 50
NUM_PER_FIELD = 8
TRUE_ACCURACY = 0.7


def cluster_interval(is_hit, group, num_groups, seed):
    """Return the bootstrap interval of accuracy, resampling groups."""
    truth = np.ones(len(is_hit), np.int64)
    by_group = confusion_by_group(truth, is_hit.astype(np.int64), group, num_groups, 2)
    weights = resample_counts(num_groups, 200, np.random.default_rng(seed))
    resampled = classification_scores(
        (weights @ by_group.reshape(num_groups, -1)).reshape(-1, 2, 2)
    )
    return interval(float(is_hit.mean()), resampled["accuracy"])


def simulate_hits(rng):
    """Return hits of pixels whose fields are easy or hard: accuracy 0.7 on average."""
    ease = rng.beta(0.7, 0.3, NUM_FIELDS)
    return rng.random((NUM_FIELDS, NUM_PER_FIELD)) < ease[:, None]


def share_covering(group, num_groups):
    rng = np.random.default_rng(42)
    covered = 0
    for number in range(NUM_SIMULATIONS):
        found = cluster_interval(simulate_hits(rng).ravel(), group, num_groups, number)
        covered += found.low <= TRUE_ACCURACY <= found.high
    return covered / NUM_SIMULATIONS


def test_the_interval_covers_the_truth_when_pixels_come_in_fields():
    fields = np.repeat(np.arange(NUM_FIELDS), NUM_PER_FIELD)

    assert 0.9 <= share_covering(fields, NUM_FIELDS) <= 0.99


def test_resampling_pixels_would_claim_too_much():
    num_pixels = NUM_FIELDS * NUM_PER_FIELD

    assert share_covering(np.arange(num_pixels), num_pixels) < 0.6


def test_each_resample_draws_as_many_fields_as_there_are():
    counts = resample_counts(7, 50, np.random.default_rng(0))

    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert len(np.unique(counts, axis=0)) > 40


def test_confusion_counts_add_up_to_the_usual_scores():
    rng = np.random.default_rng(1)
    truth = rng.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(300) < 0.6, truth, rng.integers(0, 4, 300))
    group = rng.integers(0, 9, 300)

    by_field = confusion_by_group(truth, predicted, group, 9, 4)
    scores = classification_scores(by_field.sum(axis=0))

    assert by_field[3].sum() == (group == 3).sum()
    assert scores["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_scores_of_many_matrices_are_those_of_each():
    matrices = np.random.default_rng(2).integers(0, 20, (5, 3, 3)).astype(float)

    together = classification_scores(matrices)

    for number, matrix in enumerate(matrices):
        alone = classification_scores(matrix)
        assert {name: values[number] for name, values in together.items()} == alone


def test_a_class_that_a_resample_misses_does_not_count_as_wrong():
    scores = classification_scores(np.array([[8.0, 2.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 0.0]]))

    assert scores["balanced_accuracy"] == pytest.approx((0.8 + 1.0) / 2)


def test_moments_add_up_to_the_usual_regression_scores():
    rng = np.random.default_rng(3)
    truth = 1000 + rng.normal(size=200) * 8
    predicted = truth + rng.normal(size=200) * 3
    group = rng.integers(0, 6, 200)

    moments = moments_by_group(truth, predicted, group, 6)
    scores = regression_scores(moments.sum(axis=0))

    assert scores["r2"] == pytest.approx(r2_score(truth, predicted))
    assert scores["global_rmse_m"] == pytest.approx(np.sqrt(np.mean((truth - predicted) ** 2)))


def test_a_resample_without_spread_explains_nothing():
    flat = moments_by_group(np.full(4, 3.0), np.array([3.0, 3.0, 4.0, 2.0]), np.zeros(4, int), 1)

    assert regression_scores(flat[0])["r2"] == 0


def test_differences_are_paired_by_resample():
    common = np.random.default_rng(4).normal(size=500)
    better = ({"accuracy": np.array(0.8)}, {"accuracy": 0.8 + common})
    worse = ({"accuracy": np.array(0.7)}, {"accuracy": 0.7 + common})

    difference = estimate_difference(better, worse)["accuracy"]

    assert difference["low"] == pytest.approx(0.1)
    assert difference["high"] == pytest.approx(0.1)
    assert estimate(*better)["accuracy"]["high"] > 2


def test_an_estimate_is_plain_and_rounded():
    plain = Estimate(mean=1 / 3, low=0.0, high=1.0).to_dict()

    assert plain == {"mean": 0.333333, "low": 0.0, "high": 1.0}
