"""Calls to MLflow whose errors are told as what they are: never as "there is none"."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from tessera_core.errors import RemoteError, TesseraError
from tessera_core.records.locks import one_at_a_time

ABSENT: Final = "RESOURCE_DOES_NOT_EXIST"
SQLITE: Final = "sqlite:///"
MAX_PART: Final = 110
"""Characters that a message quotes of either end of an answer; a proxy's page may be long."""

PASSWORD: Final = re.compile(r"//[^/@\s]*@")


class NotThereError(RemoteError):
    """MLflow itself says that it has no such thing; the one error that is an answer."""


class _Guarded:
    """A client whose calls raise RemoteError, whatever the library makes of an answer."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not callable(value):
            return value

        def ask(*arguments: Any, **named: Any) -> Any:
            with remote_errors(self._client.tracking_uri, name):
                return value(*arguments, **named)

        return ask


def connect(uri: str) -> MlflowClient:
    """Return MLflow's client for tracking and registry; each call raises RemoteError if it fails.

    A thing that MLflow says it does not have raises NotThereError, which is one.
    """
    with _alone(uri), remote_errors(uri, "connect"):
        return cast("MlflowClient", _Guarded(MlflowClient(uri, registry_uri=uri)))


def _alone(uri: str) -> AbstractContextManager[None]:
    """Return a block for one process at a time: two that make one database spoil it (alembic)."""
    folder = Path(uri.removeprefix(SQLITE)).parent
    if not uri.startswith(SQLITE) or not os.access(folder, os.W_OK):
        return nullcontext()
    return one_at_a_time(folder / ".mlflow.lock")


@contextmanager
def remote_errors(uri: str, call: str) -> Iterator[None]:
    """Turn what a call to MLflow raises into one sentence.

    Args:
        uri: Where MLflow is.
        call: What is asked, as MLflow names it.

    Raises:
        NotThereError: MLflow says that it has no such thing.
        RemoteError: Anything else went wrong: refused, timed out, garbled.
        OSError: A file of this machine cannot be used; that is no answer of MLflow.
    """
    try:
        yield
    except TesseraError:
        raise
    except Exception as error:  # a garbled answer makes the library stumble in any way
        if isinstance(error, OSError) and error.filename is not None:
            raise
        kind = NotThereError if _says_absent(error) else RemoteError
        raise kind(_sentence(uri, call, str(error) or type(error).__name__)) from error


def garbled(uri: str, call: str, answer: str) -> RemoteError:
    """Return the error that MLflow answered, but what it said cannot be."""
    return RemoteError(_sentence(uri, call, answer))


def _says_absent(error: Exception) -> bool:
    """Return whether MLflow's own code is in the answer; a proxy's page of status 404 has none."""
    if isinstance(error, RestException):
        return bool(error.json.get("error_code") == ABSENT)
    is_local = isinstance(error, MlflowException) and error.error_code == ABSENT
    return is_local and "API request to" not in str(error)


def _sentence(uri: str, call: str, answer: str) -> str:
    parts = urlsplit(uri)
    port = f":{parts.port}" if parts.port else ""
    where = f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else uri
    said = PASSWORD.sub("//", " ".join(answer.split()))
    quoted = said if len(said) <= 2 * MAX_PART else f"{said[:MAX_PART]} ... {said[-MAX_PART:]}"
    return (
        f"MLflow at {where} gave no usable answer to {call}: {quoted}. "
        "Nothing was decided from it; run the same command again when it answers"
    )
