"""MLflow as the tracker: one run per logical run."""

import pytest
from mlflow import MlflowClient

from flows.adapters.tracking import EXPERIMENT, KEY_TAG, open_run
from flows.settings import Settings

pytestmark = pytest.mark.timeout(120)


def runs_of(settings: Settings) -> list:
    client = MlflowClient(settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id]))


def test_the_same_logical_run_is_reopened_never_doubled(settings: Settings) -> None:
    def stop_half_way() -> None:
        with open_run(settings, "key", "first") as run:
            run.log_metrics(0, {"loss": 2.0})
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop_half_way()
    failed = runs_of(settings)[0].info.status

    with open_run(settings, "key", "second") as again:
        assert not again.is_new
        again.log_metrics(1, {"loss": 1.0})

    found = runs_of(settings)
    assert failed == "FAILED"
    assert len(found) == 1
    assert found[0].info.status == "FINISHED"
    assert found[0].info.run_name == "first"
    assert found[0].data.metrics["loss"] == 1.0
    assert found[0].data.tags[KEY_TAG] == "key"


def test_parameters_are_logged_once_and_long_ones_cut(settings: Settings) -> None:
    with open_run(settings, "key", "run") as tracker:
        tracker.log_params({"a": 1, "long": "x" * 9000})
        tracker.log_params({"a": 1, "b": None})

    params = runs_of(settings)[0].data.params
    assert params["a"] == "1"
    assert params["b"] == "None"
    assert len(params["long"]) == 500


def test_a_value_that_is_not_finite_is_left_out(settings: Settings) -> None:
    with open_run(settings, "key", "run") as tracker:
        tracker.log_metrics(0, {"good": 1.0, "bad": float("nan")})

    assert set(runs_of(settings)[0].data.metrics) == {"good"}


def test_the_data_set_is_logged_by_content_digest(settings: Settings) -> None:
    with open_run(settings, "key", "run") as tracker:
        tracker.log_dataset("shards", "ab" * 32, {"num_pixels": {"train": 3}})

    dataset = runs_of(settings)[0].inputs.dataset_inputs[0].dataset
    assert dataset.name == "shards"
    assert dataset.digest == ("ab" * 32)[:36]
    assert "ab" * 32 in dataset.source
