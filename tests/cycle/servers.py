"""Real servers of a checkout, started as the documentation says, and a way to ask them."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cycle.conftest import environment_of

READY_S, POLL_S = 120, 1.0


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


def documented(checkout: Path, block: int, **changes: str) -> str:
    """Return the commands in a block of ``docs/how-to/schedule.md``, with words exchanged."""
    text = (checkout / "docs" / "how-to" / "schedule.md").read_text(encoding="utf-8")
    commands = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)[block]
    for word, other in changes.items():
        assert word in commands
        commands = commands.replace(word, other)
    return str(commands)


def run_documented(checkout: Path, commands: str) -> "subprocess.CompletedProcess[str]":
    """Run commands of the documentation to their end."""
    return subprocess.run(
        ["bash", "-ec", commands], cwd=checkout, env=environment_of(checkout),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@contextmanager
def serving(checkout: Path, commands: str, log: Path) -> Iterator[None]:
    """Keep commands that serve running for a block, once they say that they do; then end them."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-ec", f"exec {commands}"], cwd=checkout, env=environment_of(checkout),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip

    def says_so() -> bool:
        text = log.read_text(encoding="utf-8")
        assert process.poll() is None, text
        return "Ctrl-C stops" in text

    try:
        wait_for(f"`{commands.strip()}`", says_so, READY_S)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Api:
    """A server's REST interface: the records themselves, not a client's view of them."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Return whatever the server answers."""
        sent = {"Content-Type": "application/json", **self.headers, **headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.status < 300, answer
        return json.loads(answer.body)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status < 300, answer
        return json.loads(answer.body)

    def runs_of(self, deployment: str, state: str) -> list[dict[str, Any]]:
        return self.post(
            "/flow_runs/filter",
            {
                "deployments": {"name": {"any_": [deployment]}},
                "flow_runs": {"state": {"type": {"any_": [state]}}},
            },
        )


def owner_of(checkout: Path, url: str) -> Api:
    """Return a server as who can read the checkout's password sees it."""
    login = (checkout / ".prefect" / "login").read_bytes().strip()
    return Api(url, {"Authorization": f"Basic {base64.b64encode(login).decode()}"})
