"""A server that is down, refuses us or is something else: one sentence, at once, exit 1."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.servers.probe import mlflow_trouble, prefect_trouble, require_locked
from tessera_core.errors import TesseraError

LIMIT_S = 60
"""Their own clients would go on for minutes."""


@contextmanager
def answering(status: int, body: bytes, kind: str = "application/json") -> Iterator[str]:
    """Yield the address of a server that says the same to everybody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def mute() -> Iterator[str]:
    """Yield the address of a server that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def nobody() -> Iterator[str]:
    """Yield an address on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


ODD = {
    "down": (nobody, "does not answer"),
    "mute": (mute, "does not answer"),
    "locked": (lambda: answering(401, b"{}"), "refuses us (status 401)"),
    "forbidden": (lambda: answering(403, b"{}"), "refuses us (status 403)"),
    "broken": (lambda: answering(503, b"{}"), "answers with status 503"),
    "a page": (lambda: answering(200, b"<html>", "text/html"), "answers, but not as"),
    "other JSON": (lambda: answering(200, b'"ok"'), "answers, but not as"),
}

every_oddity = pytest.mark.parametrize(("serve", "why"), ODD.values(), ids=ODD)


@every_oddity
@pytest.mark.parametrize("trouble", [prefect_trouble, mlflow_trouble])
def test_trouble_is_told_in_a_few_words(
    trouble: Callable[[str], str | None], serve: Callable[[], Iterator[str]], why: str
) -> None:
    with serve() as address:
        told = trouble(address)

    assert told is not None
    assert told.startswith(address)
    assert why in told


def test_no_worker_is_started_for_a_server_that_obeys_anybody() -> None:
    with (
        answering(200, b"[]") as address,
        pytest.raises(TesseraError, match="obeys anybody who reaches it, and so would a worker"),
    ):
        require_locked(address)
    with answering(401, b"{}") as address:
        require_locked(address)


def test_an_mlflow_server_that_answers_is_no_trouble() -> None:
    with answering(200, json.dumps({"experiments": []}).encode()) as address:
        assert mlflow_trouble(address) is None


def test_the_server_of_a_database_is_asked_too_and_its_password_stays_unsaid() -> None:
    with nobody() as address:
        told = mlflow_trouble(address.replace("http://", "postgresql+psycopg2://ann:secret@"))

    assert told is not None
    assert "does not answer" in told
    assert "secret" not in told


PREFECT, MLFLOW = "PREFECT_API_URL", "MLFLOW_TRACKING_URI"
COMMANDS = [
    (PREFECT, ["retrain"]),
    (MLFLOW, ["retrain"]),
    (PREFECT, ["sweep", "--grid", "pretrain.seed=1,2"]),
    (PREFECT, ["schedule"]),
    (PREFECT, ["prefect", "deployment", "ls"]),
    (MLFLOW, ["promote", "1", "--by", "Ann", "--reason", "why"]),
    (MLFLOW, ["embed", "--model", "tessera", "--tile", "tile", "--out", "out"]),
]  # fmt: skip


@pytest.mark.parametrize(("variable", "words"), COMMANDS, ids=lambda value: str(value))
def test_a_command_says_so_in_one_sentence_and_past_a_proxy(
    root: Path, repo: Path, variable: str, words: list[str]
) -> None:
    before = sorted(root.rglob("data/*"))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(repo), "HOME": str(root)}
    with nobody() as address, answering(200, b"<html>proxy</html>", "text/html") as proxy:
        environment |= {variable: address, "http_proxy": proxy, "HTTP_PROXY": proxy}
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli.main", *words[:1], "--root", str(root), *words[1:]],
            cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert f"{variable} names a server that is of no use: {address} does not answer" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(root.rglob("data/*")) == before
