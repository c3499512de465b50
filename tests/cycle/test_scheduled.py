"""Scheduled retraining on a real Prefect server with a process worker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.cycle.conftest import environment_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

READY_S, RUN_S, POLL_S = 120, 600, 1.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Callable[[], Any], limit_s: float) -> Any:
    """Return the first true answer of ``check``, or fail after a limit."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(POLL_S)
    pytest.fail(f"{what} did not happen within {limit_s} s")


@contextmanager
def running(command: list[str], log: Path, **options: Any) -> Iterator[None]:
    """Keep a process group alive for a block, then end it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=30)


class Api:
    """The server's REST interface: the records themselves, not a client's view of them."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def is_ready(self) -> bool:
        try:
            return bool(self.get("/health"))
        except OSError:
            return False

    def runs_of(self, deployment: str, state: str) -> list[dict[str, Any]]:
        return self.post(
            "/flow_runs/filter",
            {
                "deployments": {"name": {"any_": [deployment]}},
                "flow_runs": {"state": {"type": {"any_": [state]}}},
            },
        )


@pytest.fixture(scope="module")
def server(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A Prefect server, the deployments of prefect.yaml, and a worker of their pool."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **environment_of(checkout),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "TESSERA_ROOT": str(checkout),
    }
    prefect = [sys.executable, "-m", "prefect"]
    options: dict[str, Any] = {"cwd": checkout, "env": environment}
    serve = [*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(serve, home / "server.log", **options):
        api = Api(url)
        wait_for("the server's first answer", api.is_ready, READY_S)
        for command in (
            ["work-pool", "create", "tessera", "--type", "process"],
            ["--no-prompt", "deploy", "--all"],
        ):
            subprocess.run([*prefect, *command], check=True, timeout=120, **options)
        worker = [*prefect, "worker", "start", "--pool", "tessera"]
        with running(worker, home / "worker.log", **options):
            yield api


def test_the_cron_deployment_creates_scheduled_runs(server: Api) -> None:
    runs = wait_for("a scheduled run", lambda: server.runs_of("scheduled", "SCHEDULED"), READY_S)

    assert len(runs) >= 2
    assert all(run["auto_scheduled"] for run in runs)
    starts = sorted(run["expected_start_time"] for run in runs)
    assert starts[0][11:16] == "02:00"


def test_a_triggered_run_completes_and_its_version_gets_an_alias_with_reasons(
    server: Api, checkout: Path
) -> None:
    deployment = server.get("/deployments/name/retrain/manual")
    created = server.post(
        f"/deployments/{deployment['id']}/create_flow_run",
        {"parameters": {"root": str(checkout), "overrides": ["pretrain.seed=18"]}},
    )

    def finished() -> Any:
        run = server.get(f"/flow_runs/{created['id']}")
        return run if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED") else None

    run = wait_for("the triggered run's end", finished, RUN_S)

    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    client = MlflowClient(f"sqlite:///{checkout / '.mlflow' / 'mlflow.db'}")
    versions = client.search_model_versions("name = 'tessera'")
    newest = max(versions, key=lambda version: int(version.version))
    aliases = client.get_registered_model("tessera").aliases
    assert int(newest.version) >= 2
    assert str(newest.version) in {str(version) for version in aliases.values()}
    assert "crop_type" in newest.tags["tessera.reasons"]
    artifacts = server.post("/artifacts/filter", {})
    assert {"quality", "evaluation", "links"} <= {artifact["key"] for artifact in artifacts}
