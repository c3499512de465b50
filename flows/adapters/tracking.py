"""MLflow as the tracker: one run per logical run, reopened on retry, never a ghost."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from flows.adapters.remote import connect
from flows.servers.probe import require_mlflow
from flows.settings import Settings
from tessera_core.errors import RemoteError

EXPERIMENT: Final = "tessera-retrain"
EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the page on training runs; MLflow takes an experiment for a chat bot otherwise."""

FINISHED: Final = "FINISHED"
KEY_TAG: Final = "tessera.run_key"
MAX_PARAM_LENGTH: Final = 500
PARAMS_PER_CALL: Final = 100
SYSTEM_SAMPLING_S: Final = 10.0
"""Seconds between two looks at the machine; a run that ends sooner has no ``system/`` metrics."""


class MlflowTracker:
    """Reports to one MLflow run, which it leaves alone until there is something new to report."""

    def __init__(
        self, client: MlflowClient, run: Run, reopen: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self._reopen = reopen
        self.run_id: str = run.info.run_id
        self.was_finished: bool = run.info.status == FINISHED
        """Whether the run had come to its end when it was looked up."""
        page = _page_of(run)
        uri = client.tracking_uri
        self.address = f"{uri.rstrip('/')}{page}" if uri.startswith("http") else page
        """The run's page; without a server, its part behind the address that `make ui` prints."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings; those that the run has already are left alone."""
        known = self._client.get_run(self.run_id).data.params
        entries = [
            Param(name, str(value)[:MAX_PARAM_LENGTH])
            for name, value in params.items()
            if name not in known
        ]
        if entries:
            self._reopen()
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
        self._reopen()
        self._client.log_batch(self.run_id, metrics=entries)

    def steps_of(self, metric: str) -> set[int]:
        """Return the steps at which the run has a number."""
        return {entry.step for entry in self._client.get_metric_history(self.run_id, metric)}

    def log_artifact(self, path: Path, folder: str) -> None:
        """Upload a file."""
        self._reopen()
        self._client.log_artifact(self.run_id, str(path), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags of the run; those that it carries already are left alone."""
        known = self._client.get_run(self.run_id).data.tags
        entries = [RunTag(name, value) for name, value in tags.items() if known.get(name) != value]
        if entries:
            self._reopen()
            self._client.log_batch(self.run_id, tags=entries)

    def has_tag(self, name: str, value: str) -> bool:
        """Return whether the run carries a tag with this value."""
        return bool(self._client.get_run(self.run_id).data.tags.get(name) == value)

    def link_to(self, run_id: str) -> str:
        """Return another run as a Markdown link that works on the server's own pages."""
        run = self._client.get_run(run_id)
        return f"[{run.info.run_name}]({_page_of(run)[1:]})"

    def log_dataset(
        self, name: str, digest: str, facts: Mapping[str, Any], purpose: str = "training"
    ) -> None:
        """Record which data was used, by content digest: MLflow's own pandas digest is none.

        Data that the run names already is left alone.
        """
        inputs = self._client.get_run(self.run_id).inputs
        known = [] if inputs is None else [one.dataset for one in inputs.dataset_inputs]
        if any((one.name, one.digest) == (name, digest[:36]) for one in known):
            return
        self._reopen()
        dataset = Dataset(
            name=name,
            digest=digest[:36],
            source_type="dvc",
            source=json.dumps({"digest": digest}),
            profile=json.dumps(dict(facts)),
        )
        tag = InputTag("mlflow.data.context", purpose)
        self._client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])


@contextmanager
def open_run(
    settings: Settings,
    run_key: str,
    name: str,
    *,
    experiment: str = EXPERIMENT,
    parent: str | None = None,
    system_metrics: bool = False,
) -> Iterator[MlflowTracker]:
    """Yield the tracker of a logical run, creating its MLflow run at first use.

    A run whose process was killed stays RUNNING until the same logical run is opened again,
    which goes on in it. One that is finished stays as it is until something new is logged: its
    status, its end and its system metrics tell of the work, not of who looked at it later.

    Args:
        settings: Where MLflow is.
        run_key: Identity of the logical run; the same key always finds the same run.
        name: Name of a new run, for people.
        experiment: Where a new run belongs.
        parent: Id of the run to show this one under; a later parent takes it over from an earlier
            one. None leaves it where it is.
        system_metrics: Whether to watch processor, memory, disk, network and GPU meanwhile.
    """
    require_mlflow(settings)
    client = connect(settings.mlflow_tracking_uri)
    experiment_id = _experiment_id(client, settings, experiment)
    run = _find(client, experiment_id, run_key)
    if run is None:
        run = client.create_run(experiment_id, tags={KEY_TAG: run_key}, run_name=name)
    run_id = run.info.run_id
    opened: list[str] = []
    if parent is not None and run.data.tags.get(MLFLOW_PARENT_RUN_ID) != parent:
        client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, parent)
    with ExitStack() as watching:

        def reopen() -> None:
            if opened:
                return
            opened.append(run_id)
            client.update_run(run_id, status="RUNNING")
            if system_metrics:
                watching.enter_context(_watched(settings, run_id))

        if run.info.status != FINISHED:
            reopen()
        try:
            yield MlflowTracker(client, run, reopen)
        except BaseException:
            watching.close()
            if opened:
                with suppress(RemoteError):  # what went wrong first is what has to be told
                    client.set_terminated(run_id, status="FAILED")
            raise
    if opened:
        client.set_terminated(run_id, status=FINISHED)


def find_run_id(settings: Settings, run_key: str, *, experiment: str = EXPERIMENT) -> str | None:
    """Return the id of a logical run, or None when it was never opened."""
    found = find_run(settings, run_key, experiment=experiment)
    return None if found is None else found.run_id


def find_run(
    settings: Settings, run_key: str, *, experiment: str = EXPERIMENT
) -> MlflowTracker | None:
    """Return the tracker of a logical run as it stands, not opened again; None without one."""
    require_mlflow(settings)
    client = connect(settings.mlflow_tracking_uri)
    known = client.get_experiment_by_name(experiment)
    run = None if known is None else _find(client, known.experiment_id, run_key)
    return None if run is None else MlflowTracker(client, run)


@contextmanager
def _watched(settings: Settings, run_id: str) -> Iterator[None]:
    """Log ``system/`` metrics of a run, going on with its steps; GPUs where nvidia-ml-py is."""
    import mlflow

    # MLflow's monitor thread asks an import hook for the registry while the main thread imports
    # sklearn, and each waits for the other for ever. Either line prevents it (mlflow 3.17).
    mlflow.set_registry_uri(settings.mlflow_tracking_uri)
    import mlflow.models.evaluation.evaluator_registry
    import sklearn  # noqa: F401 - before the thread starts
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    untyped: Any = SystemMetricsMonitor
    monitor = untyped(
        run_id,
        sampling_interval=SYSTEM_SAMPLING_S,
        resume_logging=True,
        tracking_uri=settings.mlflow_tracking_uri,
    )
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def _experiment_id(client: MlflowClient, settings: Settings, name: str) -> str:
    """Return the id of an experiment, which is created at first use."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    location = settings.mlflow_artifacts or None
    created = client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS)
    return str(created)


def _find(client: MlflowClient, experiment_id: str, run_key: str) -> Run | None:
    """Return the MLflow run of a logical run, or None."""
    found = client.search_runs(
        [experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{run_key}'", max_results=1
    )
    return found[0] if found else None


def _page_of(run: Run) -> str:
    return f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def _now_ms() -> int:
    return int(time.time() * 1000)
