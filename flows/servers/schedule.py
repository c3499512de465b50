"""``tessera schedule``: what `prefect.yaml` deploys, on a server and a worker of the checkout."""

import subprocess
import sys
from typing import Final

from flows.console import say
from flows.context import Context
from flows.servers.ui import (
    HOST,
    require_free,
    say_login,
    start_prefect,
    stopped_at_the_end,
    wait_for_the_end,
    wait_until_ready,
)
from flows.settings import child_environment
from tessera_core.errors import TesseraError

POOL: Final = "tessera"
TEMPLATE: Final = "infra/prefect/work-pool.json"
SETUP_TIMEOUT_S: Final = 300


def schedule(context: Context, *, port: int) -> None:
    """Register pool and deployments and work on them, until Ctrl-C or SIGTERM.

    The server is the one that ``PREFECT_API_URL`` names, else one of our own.

    Raises:
        InputError: The port is taken.
        TesseraError: The server or the worker failed.
    """
    given = context.settings.prefect_api_url
    api = given or f"http://{HOST}:{port}/api"
    if not given:
        require_free(port)
    environment = child_environment(PREFECT_API_URL=api, TESSERA_ROOT=str(context.paths.root))
    with stopped_at_the_end() as processes:
        if not given:
            processes.append(start_prefect(port))
            wait_until_ready(f"{api}/health", processes[0])
        # A pool that is there already gets the template too: that of an older release obeyed
        # whatever command a run brought along.
        _prefect(
            context, environment,
            "work-pool", "create", POOL, "--type", "process",
            "--base-job-template", TEMPLATE, "--overwrite",
        )  # fmt: skip
        _prefect(context, environment, "--no-prompt", "deploy", "--all")
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
        processes.append(subprocess.Popen(worker, cwd=context.paths.root, env=environment))
        page = api.removesuffix("/api")
        say(f"deployments           {page}/deployments")
        say(f"flow runs             {page}/runs")
        if not given:
            say_login(context)
        say("Ctrl-C stops worker and server")
        wait_for_the_end(processes)


def run_prefect(words: list[str]) -> int:
    """Run a command of Prefect's own with our environment; returns its exit code."""
    command = [sys.executable, "-m", "prefect", *words]
    return subprocess.run(command, env=child_environment(), check=False).returncode


def _prefect(context: Context, environment: dict[str, str], *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *words],
        cwd=context.paths.root, env=environment, timeout=SETUP_TIMEOUT_S, check=False,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        said = " ".join(f"{done.stdout}\n{done.stderr}".split())
        raise TesseraError(f"`prefect {' '.join(words)}` failed: {said[-600:]}")
