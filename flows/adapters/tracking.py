"""MLflow as the tracker: one run per logical run, reopened on retry, never a ghost."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from flows.settings import Settings

EXPERIMENT: Final = "tessera-retrain"
EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the page on training runs; MLflow takes an experiment for a chat bot otherwise."""

KEY_TAG: Final = "tessera.run_key"
MAX_PARAM_LENGTH: Final = 500
PARAMS_PER_CALL: Final = 100


class MlflowTracker:
    """Reports to one MLflow run."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client = client
        self.run_id: str = run.info.run_id
        self.is_new = not run.data.metrics

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings; those that the run has already are left alone."""
        known = self._client.get_run(self.run_id).data.params
        entries = [
            Param(name, str(value)[:MAX_PARAM_LENGTH])
            for name, value in params.items()
            if name not in known
        ]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            self._client.log_batch(self.run_id, params=entries[start : start + PARAMS_PER_CALL])

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record numbers of one step in one call; MLflow cannot hold NaN."""
        now = _now_ms()
        entries = [
            Metric(name, float(value), now, step)
            for name, value in metrics.items()
            if math.isfinite(value)
        ]
        self._client.log_batch(self.run_id, metrics=entries)

    def log_artifact(self, path: Path, folder: str) -> None:
        """Upload a file."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags of the run."""
        entries = [RunTag(name, value) for name, value in tags.items()]
        self._client.log_batch(self.run_id, tags=entries)

    def has_tag(self, name: str, value: str) -> bool:
        """Return whether the run carries a tag with this value."""
        return bool(self._client.get_run(self.run_id).data.tags.get(name) == value)

    def log_dataset(self, name: str, digest: str, facts: Mapping[str, Any]) -> None:
        """Record which data was used, by content digest: MLflow's own pandas digest is none."""
        dataset = Dataset(
            name=name,
            digest=digest[:36],
            source_type="dvc",
            source=json.dumps({"digest": digest}),
            profile=json.dumps(dict(facts)),
        )
        tag = InputTag("mlflow.data.context", "training")
        self._client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])


@contextmanager
def open_run(
    settings: Settings, run_key: str, name: str, *, experiment: str = EXPERIMENT
) -> Iterator[MlflowTracker]:
    """Yield the tracker of a logical run, creating its MLflow run at first use.

    Args:
        settings: Where MLflow is.
        run_key: Identity of the logical run; the same key always finds the same run.
        name: Name of a new run, for people.
        experiment: Where a new run belongs.
    """
    client = MlflowClient(settings.mlflow_tracking_uri)
    known = client.get_experiment_by_name(experiment)
    if known is None:
        location = settings.mlflow_artifacts or None
        experiment_id = client.create_experiment(
            experiment, artifact_location=location, tags=EXPERIMENT_TAGS
        )
    else:
        experiment_id = known.experiment_id
    found = client.search_runs(
        [experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{run_key}'", max_results=1
    )
    if found:
        run = found[0]
        client.update_run(run.info.run_id, status="RUNNING")
    else:
        run = client.create_run(experiment_id, tags={KEY_TAG: run_key}, run_name=name)
    try:
        yield MlflowTracker(client, run)
    except BaseException:
        client.set_terminated(run.info.run_id, status="FAILED")
        raise
    client.set_terminated(run.info.run_id, status="FINISHED")


def _now_ms() -> int:
    return int(time.time() * 1000)
