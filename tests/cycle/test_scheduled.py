"""Scheduled retraining on a real Prefect server with a process worker, set up as documented."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.cycle.servers import (
    READY_S,
    Api,
    documented,
    free_port,
    owner_of,
    run_documented,
    serving,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RUN_S = 600
ENDED = ("COMPLETED", "FAILED", "CRASHED")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(checkout: Path, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A Prefect server, the deployments of prefect.yaml, and a worker of their pool."""
    changes = {"tessera schedule": f"tessera schedule --prefect-port {port}"}
    log = tmp_path_factory.mktemp("prefect") / "schedule.log"
    with serving(checkout, documented(checkout, 0, **changes), log):
        yield owner_of(checkout, f"http://127.0.0.1:{port}/api")


def test_the_cron_deployment_creates_scheduled_runs(server: Api) -> None:
    runs = wait_for("a scheduled run", lambda: server.runs_of("scheduled", "SCHEDULED"), READY_S)

    assert len(runs) >= 2
    assert all(run["auto_scheduled"] for run in runs)
    starts = sorted(run["expected_start_time"] for run in runs)
    assert starts[0][11:16] == "02:00"


def test_a_triggered_run_completes_and_its_version_gets_an_alias_with_reasons(
    server: Api, checkout: Path, port: int
) -> None:
    asked = run_documented(checkout, documented(checkout, 1, **{"4200": str(port)}))
    assert asked.returncode == 0, asked.stderr

    def finished() -> Any:
        runs = server.post("/flow_runs/filter", {"deployments": {"name": {"any_": ["manual"]}}})
        (run,) = runs
        return run if run["state"]["type"] in ENDED else None

    run = wait_for("the triggered run's end", finished, RUN_S)

    assert run["parameters"]["overrides"] == ["pretrain.seed=18"]
    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    database = f"sqlite:///{checkout / '.mlflow' / 'mlflow.db'}"
    client = MlflowClient(database, registry_uri=database)
    versions = client.search_model_versions("name = 'tessera'")
    newest = max(versions, key=lambda version: int(version.version))
    aliases = client.get_registered_model("tessera").aliases
    assert int(newest.version) >= 2
    assert str(newest.version) in {str(version) for version in aliases.values()}
    assert "crop_type" in newest.tags["tessera.reasons"]
    artifacts = server.post("/artifacts/filter", {})
    assert {"quality", "evaluation", "links"} <= {artifact["key"] for artifact in artifacts}
