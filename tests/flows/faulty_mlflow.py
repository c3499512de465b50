"""A real MLflow server in this process, whose n-th answer about the registry can be spoilt."""

import importlib
import socket
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

HANG_S = 4.0
"""Longer than a client of these tests waits."""

PAGE = b"<html><body>Gateway</body></html>"

ANSWERS = {
    "forbidden": ("403 Forbidden", b'{"error_code": "PERMISSION_DENIED", "message": "no"}'),
    "too many": ("429 Too Many Requests", b"slow down"),
    "broken": ("500 Internal Server Error", b'{"error_code": "INTERNAL_ERROR", "message": "oh"}'),
    "a page": ("200 OK", PAGE),
    "a page of status 404": ("404 Not Found", PAGE),
    "a proxy's own 404": ("404 Not Found", b'{"error_code": 404, "message": "no such route"}'),
    "an empty object": ("200 OK", b"{}"),
    "another shape": ("200 OK", b'{"registered_model": 3, "model_version": [], "aliases": "x"}'),
}
"""Fault -> status and body."""

SILENCE = "silence"
FAULTS = (*ANSWERS, "closed", "a lost answer")
"""Also: no answer, and none although it was done. ``SILENCE``, none in time, takes seconds."""


@dataclass(slots=True)
class FaultyServer:
    """Counts what is asked of the registry, and spoils one answer."""

    application: Callable[..., Iterable[bytes]]
    address: str = ""
    asked: list[str] = field(default_factory=list)
    """Registry calls since the last ``spoil``."""

    number: int = 0
    fault: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spoil(self, number: int, fault: str) -> None:
        """Spoil the n-th call from now on, counted from 1; 0 none."""
        self.asked, self.number, self.fault = [], number, fault

    @property
    def is_spoilt(self) -> bool:
        """Whether the call was made."""
        return 0 < self.number <= len(self.asked)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if "/registered-models" not in path and "/model-versions" not in path:
            return self.application(environ, start)
        with self.lock:
            self.asked.append(f"{environ['REQUEST_METHOD']} {path.partition('/mlflow/')[2]}")
            is_chosen = len(self.asked) == self.number
        return self._spoilt(environ, start) if is_chosen else self.application(environ, start)

    def _spoilt(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if self.fault in ANSWERS:
            status, body = ANSWERS[self.fault]
            start(status, [("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
            return [body]
        if self.fault == "a lost answer":
            list(self.application(environ, lambda *_: None))
        if self.fault == SILENCE:
            threading.Event().wait(HANG_S)
        start("200 OK", [])
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return []


@contextmanager
def faulty_mlflow(folder: Path) -> Iterator[FaultyServer]:
    """Serve MLflow on a database of its own; nothing of it is left in the process."""
    from mlflow.server import app, handlers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the server's own imports use what is deprecated
        importlib.import_module("mlflow.server.fastapi_app")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handlers, "_tracking_store", None)
        patch.setattr(handlers, "_model_registry_store", None)
        handlers.initialize_backend_stores(
            f"sqlite:///{folder / 'mlflow.db'}", default_artifact_root=(folder / "files").as_uri()
        )
        server = FaultyServer(application=app)
        listening = make_server("127.0.0.1", 0, server, threaded=True)
        server.address = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join(timeout=30)
            listening.server_close()
