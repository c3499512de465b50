"""Prefect's and MLflow's servers on loopback, and the pages that matter."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

from flows.console import say
from flows.context import Context
from flows.settings import child_environment
from tessera_core.errors import InputError, TesseraError

HOST = "127.0.0.1"
READY_TIMEOUT_S = 120
POLL_S = 0.5


def serve(context: Context, *, prefect_port: int, mlflow_port: int) -> None:
    """Start both servers, print where to look, and stop them on Ctrl-C or SIGTERM."""
    for port in (prefect_port, mlflow_port):
        require_free(port)
    # Whoever ends this process must not leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    servers = {
        f"http://{HOST}:{prefect_port}/api/health": start_prefect(prefect_port),
        f"http://{HOST}:{mlflow_port}/health": start_mlflow(context, mlflow_port),
    }
    try:
        for address, process in servers.items():
            wait_until_ready(address, process)
        say_pages(context, prefect_port, mlflow_port)
        while all(process.poll() is None for process in servers.values()):
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        for process in servers.values():
            stop(process)


def require_free(port: int) -> None:
    """Refuse a port that somebody serves already: its pages would be taken for ours."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise InputError(
                f"port {port} is taken; end what listens there, or choose another with "
                "--prefect-port or --mlflow-port"
            )


def start_prefect(port: int) -> "subprocess.Popen[bytes]":
    """Start Prefect's server on the checkout's own database."""
    command = ["prefect", "server", "start", "--host", HOST, "--port", str(port)]
    # The page asks port 4200 otherwise, wherever it was served from.
    api = f"http://{HOST}:{port}/api"
    return _start([sys.executable, "-m", *command], PREFECT_SERVER_UI_API_URL=api)


def start_mlflow(context: Context, port: int) -> "subprocess.Popen[bytes]":
    """Start MLflow's server on the checkout's own database, without its job runner."""
    settings = context.settings
    command = [
        "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--backend-store-uri", settings.mlflow_tracking_uri,
        # Else a registry that the environment names would be shown beside the checkout's runs.
        "--registry-store-uri", settings.mlflow_tracking_uri,
        "--default-artifact-root", settings.mlflow_artifacts,
    ]  # fmt: skip
    return _start([sys.executable, "-m", *command], MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")


def wait_until_ready(address: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait for a server to answer; raises TesseraError when it ends or takes too long."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TesseraError(
                f"the server of {address} ended with code {process.returncode}; "
                "is the port taken? Choose another with --prefect-port or --mlflow-port"
            )
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(POLL_S)
    raise TesseraError(f"{address} did not answer within {READY_TIMEOUT_S} s")


def say_pages(context: Context, prefect_port: int, mlflow_port: int) -> None:
    """Print the addresses worth opening."""
    from mlflow import MlflowClient

    from flows.adapters.tracking import EXPERIMENT

    experiment = MlflowClient(context.settings.mlflow_tracking_uri).get_experiment_by_name(
        EXPERIMENT
    )
    number = experiment.experiment_id if experiment else "0"
    mlflow, prefect = f"http://{HOST}:{mlflow_port}", f"http://{HOST}:{prefect_port}"
    name = context.config.register.model_name
    say(f"runs and figures      {mlflow}/#/experiments/{number}/runs")
    say(f"versions and aliases  {mlflow}/#/models/{name}")
    say(f"flow runs             {prefect}/runs")
    say(f"deployments           {prefect}/deployments")
    say(f"certificate           {_file(context.paths.audit / 'certificate.html')}")
    say(f"evaluation report     {_file(context.paths.evaluation / 'report.html')}")
    say("Ctrl-C stops both servers")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server, gently first."""
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=20)


def _start(command: list[str], **environment: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        env=child_environment(**environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _file(path: Path) -> str:
    return path.as_uri() if path.exists() else f"{path} (not yet)"
