"""Every environment variable that the platform reads or sets, in one place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

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

    prefect_home: str = ""
    """Prefect's folder; empty = ``<root>/.prefect``."""

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


def activate(root: Path) -> Settings:
    """Resolve settings for a checkout and hand them to Prefect, MLflow and the rest.

    Must run before any of them is imported: they read their environment at import.
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
    }
    for name, value in chosen.items():
        if not os.environ.get(name):
            os.environ[name] = value
    return settings.model_copy(
        update={
            "mlflow_tracking_uri": uri,
            "mlflow_artifacts": artifacts,
            "prefect_home": home,
            "prefect_logging_level": level,
        }
    )
