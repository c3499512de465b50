import re

import pytest

from tessera_core.evaluate.tracking import flat_metrics, log_scores
from tessera_core.testing.tracker import InMemoryTracker
from tests.unit.evaluate.planted import made_evaluation


@pytest.fixture(scope="module")
def evaluation():
    return made_evaluation()


def test_scores_become_flat_names_that_tracking_servers_accept(evaluation):
    metrics = flat_metrics(evaluation)

    assert metrics["crop_type/encoder_linear/accuracy"] > 0.9
    assert "crop_type/encoder_linear/accuracy_low" in metrics
    assert "crop_type/encoder_linear_minus_raw_forest/macro_f1" in metrics
    assert all(re.fullmatch(r"[\w\-. /]+", name) for name in metrics)


def test_a_skipped_task_logs_nothing(evaluation):
    metrics = flat_metrics(evaluation)

    assert not [name for name in metrics if name.startswith("canopy_height")]


def test_the_curve_is_logged_with_labels_as_steps(evaluation):
    tracker = InMemoryTracker()

    log_scores(tracker, evaluation)

    assert [step for step, _ in tracker.metrics] == [0, 1, 4]
    assert set(tracker.metrics[1][1]) == {
        "crop_type/curve/encoder_linear",
        "crop_type/curve/encoder_few_shot",
        "crop_type/curve/random_encoder_linear",
        "crop_type/curve/raw_forest",
    }


def test_an_evaluation_without_a_curve_logs_what_there_is():
    tracker = InMemoryTracker()

    log_scores(tracker, made_evaluation(num_fields=1))

    assert tracker.metrics == [(0, {})]
