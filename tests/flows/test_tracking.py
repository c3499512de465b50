"""MLflow as the tracker: one run per logical run."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.adapters.tracking import EXPERIMENT, KEY_TAG, find_run_id, open_run
from flows.settings import Settings

pytestmark = pytest.mark.timeout(120)

ARRIVAL_S = 30


def runs_of(settings: Settings) -> list:
    client = MlflowClient(settings.mlflow_tracking_uri, registry_uri=settings.mlflow_tracking_uri)
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
        assert again.steps_of("loss") == {0}
        again.log_metrics(1, {"loss": 1.0})

    found = runs_of(settings)
    assert failed == "FAILED"
    assert len(found) == 1
    assert found[0].info.status == "FINISHED"
    assert found[0].info.run_name == "first"
    assert found[0].data.metrics["loss"] == 1.0
    assert found[0].data.tags[KEY_TAG] == "key"


def test_a_finished_run_that_learns_nothing_new_is_left_as_it_was(settings: Settings) -> None:
    def tell() -> None:
        with open_run(settings, "key", "run", parent="above", system_metrics=True) as run:
            run.log_params({"a": 1})
            run.set_tags({"tag": "value"})
            run.log_dataset("shards", "ab" * 32, {"num_pixels": 3})

    tell()
    before = runs_of(settings)[0].to_dictionary()
    tell()
    with pytest.raises(RuntimeError, match="stopped"), open_run(settings, "key", "run"):
        raise RuntimeError("stopped")

    assert runs_of(settings)[0].to_dictionary() == before
    assert before["info"]["status"] == "FINISHED"


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


def test_a_run_can_be_shown_under_a_parent_and_a_later_parent_takes_it_over(
    settings: Settings,
) -> None:
    with open_run(settings, "sweep", "parent") as parent:
        for key in ("key", "other"):
            with open_run(settings, key, "child", parent=parent.run_id):
                pass
    with open_run(settings, "key", "child"):
        pass
    tags = {run.data.tags[KEY_TAG]: run.data.tags for run in runs_of(settings)}
    with open_run(settings, "key", "child", parent=tags["other"]["mlflow.parentRunId"][::-1]):
        pass

    again = {run.data.tags[KEY_TAG]: run.data.tags for run in runs_of(settings)}
    assert tags["key"]["mlflow.parentRunId"] == parent.run_id
    assert tags["other"]["mlflow.parentRunId"] == parent.run_id
    assert "mlflow.parentRunId" not in tags["sweep"]
    assert again["key"]["mlflow.parentRunId"] == parent.run_id[::-1]
    assert len(again) == 3


def test_the_id_of_a_logical_run_is_found_by_its_key(settings: Settings) -> None:
    before = find_run_id(settings, "key")
    with open_run(settings, "key", "run") as tracker:
        pass

    assert before is None
    assert find_run_id(settings, "key") == tracker.run_id
    assert find_run_id(settings, "another") is None


@contextmanager
def watched_run(settings: Settings) -> Iterator[str]:
    """Open the run with system metrics and wait until some have arrived since it was opened."""
    with open_run(settings, "key", "run", system_metrics=True) as tracker:
        tracker.set_tags({"opened at": str(time.time())})  # a finished run opens at the first word
        before = len(history_of(settings, tracker.run_id))
        deadline = time.monotonic() + ARRIVAL_S
        while len(history_of(settings, tracker.run_id)) < before + 2:
            assert time.monotonic() < deadline, "no system metrics arrived"
            time.sleep(0.05)
        yield tracker.run_id


def history_of(settings: Settings, run_id: str) -> list:
    client = MlflowClient(settings.mlflow_tracking_uri, registry_uri=settings.mlflow_tracking_uri)
    return client.get_metric_history(run_id, "system/cpu_utilization_percentage")


@pytest.mark.usefixtures("own_environment")
def test_system_metrics_arrive_and_a_reopened_run_goes_on_with_their_steps(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")

    with watched_run(settings) as first:
        while_open = runs_of(settings)[0].info.status
        # What a training step may import meanwhile; with the monitor this once waited for ever.
        import mlflow.models.evaluation.base

        assert mlflow.models.evaluation.base is not None
    with watched_run(settings) as second:
        pass
    with open_run(settings, "key", "run") as third:
        assert third.steps_of("loss") == set()

    found = runs_of(settings)
    steps = [metric.step for metric in history_of(settings, first)]
    assert while_open == "RUNNING"
    assert first == second
    assert [run.info.status for run in found] == ["FINISHED"]
    assert steps == list(range(len(steps)))
    assert {"system/system_memory_usage_percentage", "system/network_receive_megabytes"} <= set(
        found[0].data.metrics
    )
    assert not [thread for thread in threading.enumerate() if "SystemMetrics" in thread.name]


@pytest.mark.usefixtures("own_environment")
def test_a_run_that_fails_stops_its_monitor(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")

    def fail() -> None:
        with open_run(settings, "key", "run", system_metrics=True):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()

    assert runs_of(settings)[0].info.status == "FAILED"
    assert not [thread for thread in threading.enumerate() if "SystemMetrics" in thread.name]


KILLED = """
import sys, time
from flows.adapters.tracking import open_run
from flows.settings import Settings
settings = Settings().model_copy(
    update={"mlflow_tracking_uri": sys.argv[1], "mlflow_artifacts": sys.argv[2]}
)
with open_run(settings, "key", "run", system_metrics=True) as tracker:
    tracker.log_metrics(0, {"loss": 2.0})
    print(tracker.run_id, flush=True)
    time.sleep(100)
"""


@pytest.mark.usefixtures("own_environment")
def test_a_killed_process_leaves_its_run_running_and_the_next_one_goes_on_in_it(
    settings: Settings, repo: Path
) -> None:
    command = [sys.executable, "-c", KILLED]
    process = subprocess.Popen(
        [*command, settings.mlflow_tracking_uri, settings.mlflow_artifacts],
        env={**os.environ, "PYTHONPATH": str(repo)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        killed = process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
    left = runs_of(settings)

    with open_run(settings, "key", "run", system_metrics=True) as tracker:
        assert tracker.steps_of("loss") == {0}
        tracker.log_metrics(1, {"loss": 1.0})

    found = runs_of(settings)
    assert [(run.info.run_id, run.info.status) for run in left] == [(killed, "RUNNING")]
    assert [(run.info.run_id, run.info.status) for run in found] == [(killed, "FINISHED")]
    assert found[0].data.metrics["loss"] == 1.0


def test_a_history_fills_the_gaps_of_a_run_and_repeats_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    from types import SimpleNamespace

    from flows.reporting import replay_history
    from tessera_core.records.files import write_json

    history = [{"step": step, "loss/total": 10.0 - step} for step in (9, 19, 29)]
    write_json(tmp_path / "history.json", history)
    context: Any = SimpleNamespace(paths=SimpleNamespace(training=tmp_path))
    with open_run(settings, "key", "run") as run:
        run.log_metrics(9, {"loss/total": 1.0})

        for _ in range(2):
            replay_history(context, run)

    client = MlflowClient(settings.mlflow_tracking_uri, registry_uri=settings.mlflow_tracking_uri)
    found = client.get_metric_history(run.run_id, "loss/total")
    assert [(entry.step, entry.value) for entry in found] == [(9, 1.0), (19, -9.0), (29, -19.0)]
