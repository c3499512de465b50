"""Every environment variable that the platform reads or sets, in one place."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows.servers.login import draw_login, keep_login, read_login

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
RETRIES: Final = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
QUIET: Final = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Errors arrive as exceptions, and a library's log is not for the user's terminal.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",
}
FAIR: Final = {
    # Threads that spin while they wait make a training step up to eight times slower as soon as
    # another process wants a core.
    "OMP_WAIT_POLICY": "PASSIVE",
}
PATIENT: Final = {
    # Seconds: two runs that start together on a busy machine have passed Prefect's own 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # MLflow's own 7 retries of up to 120 s keep silent for a quarter of an hour.
    RETRIES: "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
OPT_OUTS: Final = {
    # Both spellings matter: mlflow honours DO_NOT_TRACK only when it is literally "true".
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "true",
}


class Settings(BaseSettings):
    """Where the servers are; the embedded default needs none of these variables."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    mlflow_tracking_uri: str = ""
    """MLflow server or database; empty = ``sqlite`` under ``<root>/.mlflow``."""

    mlflow_artifacts: str = ""
    """Where artifacts go when no server decides; empty = ``<root>/.mlflow/artifacts``."""

    mlflow_tracking_username: str = ""
    """Who we are to that server; empty = what `tessera ui` let in, if it is on this machine."""

    mlflow_tracking_password: SecretStr = SecretStr("")
    """Likewise."""

    mlflow_tracking_token: SecretStr = SecretStr("")
    """Instead of user and password."""

    prefect_home: str = ""
    """Prefect's folder; empty = ``<root>/.prefect``."""

    prefect_api_url: str = ""
    """Prefect's server; empty = one that a run starts for itself, on loopback."""

    prefect_api_auth_string: SecretStr = SecretStr("")
    """``user:password`` for that server; empty = the file ``login`` in Prefect's folder."""

    prefect_server_api_auth_string: SecretStr = SecretStr("")
    """What servers let in that we start; empty = the same file."""

    prefect_logging_level: str = ""
    """Prefect's console log level; empty = only failures that no message of ours explains."""

    prefect_tasks_runner_thread_pool_max_workers: int = 2
    """Tiles that are worked on at the same time."""

    tessera_evidence: str = ""
    """Where a team's checkouts share lineage, a folder or URL; empty = at DVC's default remote."""

    tessera_signing_key: str = ""
    """Path of the key that signs attestations, outside the checkout; empty = unsigned."""

    openlineage_api_key: SecretStr = SecretStr("")
    """What a lineage server knows us by, as other OpenLineage clients name it; empty = none."""


def child_environment(**added: str) -> dict[str, str]:
    """Return this process's environment with additions, for a server that it starts."""
    return {**os.environ, **added}


@contextmanager
def sent_once() -> Iterator[None]:
    """Keep MLflow from sending a request again whose answer was lost, for what must not be twice.

    MLflow reads the variable at every call.
    """
    before = os.environ.get(RETRIES)
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[RETRIES]
        else:
            os.environ[RETRIES] = before


def hand_over(variables: Mapping[str, str]) -> None:
    """Set variables of this process, for a library that takes them from nowhere else."""
    os.environ.update(variables)


def is_loopback(url: str) -> bool:
    """Say whether a server is on this machine."""
    host = urlsplit(url).hostname or ""
    return host in LOOPBACK or host.startswith("127.")


def is_server(uri: str) -> bool:
    """Say whether MLflow keeps its runs on a server, and not in a database that we open."""
    return uri.startswith(("http://", "https://"))


def origins(port: int) -> str:
    """Return the pages that may ask a server of ours, as Prefect takes them."""
    return f"http://127.0.0.1:{port},http://localhost:{port}"


def activate(root: Path, *, serves: bool = False) -> Settings:
    """Resolve settings for a checkout and hand them to Prefect, MLflow and the rest.

    Must run before any of them is imported: they read their environment at import.

    Args:
        root: The checkout.
        serves: Servers are started that other processes ask: what they let in is kept on disk.

    Raises:
        ConfigError: What the servers let in is kept where others can read it, or cannot be read.
        StorageError: It cannot be kept.
    """
    settings = Settings()
    database = root / ".mlflow" / "mlflow.db"
    uri = settings.mlflow_tracking_uri or f"sqlite:///{database}"
    home = settings.prefect_home or str(root / ".prefect")
    level = settings.prefect_logging_level or "CRITICAL"
    artifacts = settings.mlflow_artifacts
    if not settings.mlflow_tracking_uri or uri.startswith("sqlite"):
        database.parent.mkdir(parents=True, exist_ok=True)
        artifacts = artifacts or (root / ".mlflow" / "artifacts").as_uri()
    chosen = {
        **OPT_OUTS,
        **QUIET,
        **FAIR,
        **PATIENT,
        "MLFLOW_TRACKING_URI": uri,
        "PREFECT_HOME": home,
        "PREFECT_LOGGING_LEVEL": level,
        "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": str(
            settings.prefect_tasks_runner_thread_pool_max_workers
        ),
        **_logins(settings, Path(home), uri, serves=serves),
    }
    ask_loopback_directly()
    for name, value in chosen.items():
        if not os.environ.get(name):
            os.environ[name] = value
    return settings.model_copy(
        update={
            "mlflow_tracking_uri": uri,
            "mlflow_artifacts": artifacts,
            "prefect_home": home,
            "prefect_logging_level": level,
            "prefect_server_api_auth_string": SecretStr(
                os.environ["PREFECT_SERVER_API_AUTH_STRING"]
            ),
        }
    )


def _logins(settings: Settings, home: Path, tracking_uri: str, *, serves: bool) -> dict[str, str]:
    """Return what closes the servers that we start, and opens those on this machine to us.

    Not even the server that a run starts for itself may listen without a password: whoever reaches
    its port could read and change what the checkout's database holds.
    """
    is_ours = not settings.prefect_api_url or is_loopback(settings.prefect_api_url)
    given = settings.prefect_server_api_auth_string.get_secret_value()
    if is_ours:
        given = given or settings.prefect_api_auth_string.get_secret_value()
    known = given or (keep_login(home) if serves else read_login(home))
    login = known or draw_login()
    chosen = {
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins(4200),
    }
    if is_ours:
        chosen["PREFECT_API_AUTH_STRING"] = login
    has_own = any(
        (
            settings.mlflow_tracking_username,
            settings.mlflow_tracking_password.get_secret_value(),
            settings.mlflow_tracking_token.get_secret_value(),
        )
    )
    if known and is_loopback(tracking_uri) and not has_own:
        user, _, password = login.partition(":")
        chosen |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    return chosen


def ask_loopback_directly() -> None:
    """Keep requests to this machine off a proxy, which would answer for a server of its own."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)
