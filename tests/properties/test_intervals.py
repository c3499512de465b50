"""Intervals cover at their nominal rate: planted truth, clustered pixels, few groups and many."""

import numpy as np
import pytest

from tessera_core.domain.bootstrap import interval, resample_counts, resampled_scores
from tessera_core.domain.scores import Kind, scores

SHARE = np.array([0.4, 0.35, 0.25])
"""Of fields, by class."""

LOGIT = np.array([1.2, 0.8, 0.4])
"""Of a right answer, by class."""

METRICS = ("accuracy", "macro_f1")
NUM_WORLDS, NUM_RESAMPLES = 1000, 1000


def tallies(rng, num_fields):
    """Confusions of two models, (2, G, K, K): fields of 3..60 pixels that err together."""
    size = np.minimum(rng.geometric(1 / 12, num_fields) + 2, 60)
    crop = rng.choice(len(SHARE), num_fields, p=SHARE)
    hardness = rng.normal(0, 0.9, num_fields)
    found = np.zeros((2, num_fields, len(SHARE), len(SHARE)))
    for model in range(2):
        logit = LOGIT[crop] + hardness + rng.normal(0, 0.5, num_fields)
        right = rng.binomial(size, 1 / (1 + np.exp(-logit)))
        found[model, np.arange(num_fields), crop, crop] = right
        found[model, np.arange(num_fields), crop, (crop + 1) % len(SHARE)] = size - right
    return found


@pytest.fixture(scope="module")
def truth():
    """Scores on a population of half a million fields."""
    whole = tallies(np.random.default_rng(99), 500_000)[0].sum(axis=0)
    return {name: float(scores(Kind.CLASSIFICATION, whole)[name]) for name in METRICS}


@pytest.mark.slow
@pytest.mark.parametrize("num_fields", [20, 50, 300])
def test_an_interval_of_95_per_cent_holds_the_truth_in_95_of_100_worlds(num_fields, truth):
    """Within three standard errors of 1,000 draws, 0.021; of one model and of a difference."""
    rng = np.random.default_rng(num_fields)
    counts = resample_counts(num_fields, NUM_RESAMPLES, rng)
    held = {(what, metric): 0 for what in ("score", "difference") for metric in METRICS}

    for _ in range(NUM_WORLDS):
        one, two = tallies(rng, num_fields)
        drawn = resampled_scores(Kind.CLASSIFICATION, {"one": one, "two": two}, [counts])
        for metric in METRICS:
            score, other = drawn["one"][metric], drawn["two"][metric]
            for what, values, expected in (
                ("score", score, truth[metric]),
                ("difference", other - score, 0.0),
            ):
                found = interval(0.0, values, num_groups=num_fields)
                held[what, metric] += found.low <= expected <= found.high

    for what, count in held.items():
        assert count / NUM_WORLDS == pytest.approx(0.95, abs=0.021), what
