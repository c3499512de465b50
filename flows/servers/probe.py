"""Do the servers that the environment names answer? Asked once, before any work.

Their own clients try again for minutes, and then show where in them they failed.
"""

import functools
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from flows.settings import Settings, is_server
from tessera_core.errors import RemoteError

TIMEOUT_S: Final = 4.0
"""Seconds, to connect and again to answer."""

DATABASE_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
REFUSED: Final = (401, 403)


def require_servers(settings: Settings) -> None:
    """Refuse to start what reports to Prefect and MLflow while one of them does not answer.

    Raises:
        RemoteError: One is down, refuses us, or is something else.
    """
    require_prefect(settings)
    require_mlflow(settings)


def require_prefect(settings: Settings) -> None:
    """Likewise for Prefect alone; nothing happens where a run starts its own server."""
    if settings.prefect_api_url and (why := prefect_trouble(settings.prefect_api_url)):
        raise RemoteError(
            f"PREFECT_API_URL names a server that is of no use: {why}. Start it or correct the "
            "address; without the variable a run starts a server of its own"
        )


def require_mlflow(settings: Settings) -> None:
    """Likewise for MLflow alone, on a server or in a database on one."""
    _require_mlflow(settings.mlflow_tracking_uri)


@functools.cache
def _require_mlflow(uri: str) -> None:
    # What answered once is not asked again by the same process.
    if why := mlflow_trouble(uri):
        raise RemoteError(
            f"MLFLOW_TRACKING_URI names a server that is of no use: {why}. Start it or correct "
            "the address; without the variable runs are kept in .mlflow/"
        )


def prefect_trouble(url: str) -> str | None:
    """Return why Prefect's server cannot be asked, or None."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    try:
        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": TIMEOUT_S}) as client,
        ):
            client.read_flows(limit=1)
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        keys = "PREFECT_API_AUTH_STRING (user:password) or PREFECT_API_KEY"
        return _status_trouble(url, status, keys)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _silence(url, error)
    except ValueError:
        return _strangeness(url, "Prefect")
    return None


def require_locked(url: str) -> None:
    """Refuse to work for a Prefect server that takes orders from everybody.

    Raises:
        RemoteError: It answers without a password.
    """
    import httpx

    try:
        answer = httpx.post(f"{url.rstrip('/')}/flows/filter", json={}, timeout=TIMEOUT_S)
    except httpx.HTTPError:
        return  # It answered us a moment ago, and will say itself what is wrong.
    if answer.status_code == 200:
        raise RemoteError(
            f"{_shown(url)} obeys anybody who reaches it, and so would a worker: end it and run "
            "`tessera schedule` without PREFECT_API_URL, or give it a password in "
            "PREFECT_SERVER_API_AUTH_STRING. Where the network keeps others out, "
            "`tessera prefect worker start --pool tessera` works for it all the same"
        )


def mlflow_trouble(uri: str) -> str | None:
    """Return why MLflow's server, or the one of its database, cannot be asked, or None."""
    if is_server(uri):
        return _mlflow_server_trouble(uri)
    parts = urlsplit(uri)
    port = parts.port or DATABASE_PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or port is None:
        return None
    try:
        socket.create_connection((parts.hostname, port), TIMEOUT_S).close()
    except OSError as error:
        return _silence(uri, error)
    return None


def _mlflow_server_trouble(uri: str) -> str | None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    # MLflow states no types for these two.
    creds_of: Callable[..., Any] = get_default_host_creds
    ask: Callable[..., Any] = http_request
    try:
        # As its client asks, with the same passwords and certificates, but once.
        answer = ask(
            creds_of(uri), "/api/2.0/mlflow/experiments/search", "GET",
            params={"max_results": 1}, max_retries=0, timeout=TIMEOUT_S, raise_on_status=False,
        )  # fmt: skip
    except (MlflowException, OSError) as error:
        return _silence(uri, error.__cause__ or error)
    if answer.status_code != 200:
        keys = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return _status_trouble(uri, answer.status_code, keys)
    try:
        known = answer.json()
    except ValueError:
        known = None
    return None if isinstance(known, dict) else _strangeness(uri, "MLflow")


def _status_trouble(url: str, status: int, keys: str) -> str:
    if status in REFUSED:
        return f"{_shown(url)} refuses us (status {status}); say who we are in {keys}"
    return f"{_shown(url)} answers with status {status}"


def _strangeness(url: str, kind: str) -> str:
    return f"{_shown(url)} answers, but not as {kind} does"


def _silence(url: str, error: BaseException) -> str:
    return f"{_shown(url)} does not answer ({type(error).__name__})"


def _shown(url: str) -> str:
    """Return an address without the password that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
