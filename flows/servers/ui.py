"""Prefect's and MLflow's servers on loopback, and the pages that matter."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.console import say
from flows.context import Context
from flows.servers.login import LOGIN_NAME
from flows.settings import child_environment, is_server, origins
from tessera_core.errors import InputError, TesseraError

HOST = "127.0.0.1"
READY_TIMEOUT_S = 120
POLL_S = 0.5


def serve(context: Context, *, prefect_port: int, mlflow_port: int) -> None:
    """Start the servers that no setting names, print where to look, and stop them at the end.

    Raises:
        InputError: A port is taken.
        TesseraError: A server did not start, or ended by itself.
    """
    settings = context.settings
    prefect = settings.prefect_api_url.rstrip("/").removesuffix("/api")
    mlflow = settings.mlflow_tracking_uri if is_server(settings.mlflow_tracking_uri) else ""
    for port in [*([] if prefect else [prefect_port]), *([] if mlflow else [mlflow_port])]:
        require_free(port)
    with stopped_at_the_end() as servers:
        awaited = {}
        if not prefect:
            prefect = f"http://{HOST}:{prefect_port}"
            awaited[f"{prefect}/api/health"] = start_prefect(prefect_port)
        if not mlflow:
            mlflow = f"http://{HOST}:{mlflow_port}"
            awaited[f"{mlflow}/health"] = start_mlflow(context, mlflow_port)
        servers += awaited.values()
        for address, process in awaited.items():
            wait_until_ready(address, process)
        say_pages(context, prefect, mlflow.rstrip("/"))
        if servers:
            say_login(context)
            say("Ctrl-C stops both servers" if len(servers) == 2 else "Ctrl-C stops the server")
            wait_for_the_end(servers)


@contextmanager
def stopped_at_the_end() -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Yield a list; the processes in it end with the block, which Ctrl-C and SIGTERM end."""
    signal.signal(signal.SIGTERM, _interrupt)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield processes
    except KeyboardInterrupt:
        say("stopping")
    finally:
        # The last one started needs those before it until it has ended.
        for process in reversed(processes):
            stop(process)


def wait_for_the_end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Wait until the user ends us; raises TesseraError when a process ends by itself."""
    while all(process.poll() is None for process in processes):
        time.sleep(POLL_S)
    codes = [process.returncode for process in processes if process.returncode is not None]
    raise TesseraError(f"a server or worker ended by itself with code {codes[0]}; start it again")


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
    return _start(
        [sys.executable, "-m", *command],
        PREFECT_SERVER_UI_API_URL=api,
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS=origins(port),
    )


def start_mlflow(context: Context, port: int) -> "subprocess.Popen[bytes]":
    """Start MLflow's server on the checkout's own database, without its job runner."""
    settings = context.settings
    return _start(
        [sys.executable, "-m", "flows.adapters.mlflow_door", HOST, str(port)],
        # A database's address may hold a password, which a command line would show to everybody.
        MLFLOW_TRACKING_URI=settings.mlflow_tracking_uri,
        MLFLOW_ARTIFACTS=settings.mlflow_artifacts,
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    )


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
        except OSError:
            time.sleep(POLL_S)
    raise TesseraError(f"{address} did not answer within {READY_TIMEOUT_S} s")


def say_pages(context: Context, prefect: str, mlflow: str) -> None:
    """Print the addresses worth opening, on servers at these."""
    from mlflow import MlflowClient

    from flows.adapters.tracking import EXPERIMENT

    experiment = MlflowClient(context.settings.mlflow_tracking_uri).get_experiment_by_name(
        EXPERIMENT
    )
    number = experiment.experiment_id if experiment else "0"
    name = context.config.register.model_name
    say(f"runs and figures      {mlflow}/#/experiments/{number}/runs")
    say(f"versions and aliases  {mlflow}/#/models/{name}")
    say(f"flow runs             {prefect}/runs")
    say(f"deployments           {prefect}/deployments")
    say(f"certificate           {_file(context.paths.audit / 'certificate.html')}")
    say(f"evaluation report     {_file(context.paths.evaluation / 'report.html')}")


def say_login(context: Context) -> None:
    """Print what the pages ask for, to a person; whoever keeps the output is told where it is."""
    given = context.settings.prefect_server_api_auth_string.get_secret_value()
    user, _, password = given.partition(":")
    if sys.stdout.isatty():
        say(f"log in                user {user}, password {password}")
        say(f"                      Prefect's page asks for both in one line: {given}")
    else:
        say(f"log in                with the line in {context.settings.prefect_home}/{LOGIN_NAME}")


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


def _interrupt(*_: object) -> None:
    # Not by way of SIGINT, which a script's background jobs ignore.
    raise KeyboardInterrupt


def _file(path: Path) -> str:
    return path.as_uri() if path.exists() else f"{path} (not yet)"
