"""A Prefect server in this process, a small checkout, and MLflow on SQLite: all real."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.settings import Settings
from tessera_core.domain.norms import NormStats
from tessera_core.model.artifact import write_artifact
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    """Run flows against a throwaway server; about 12 s once."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """MLflow in a folder of its own."""
    return Settings().model_copy(
        update={
            "mlflow_tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
            "mlflow_artifacts": (tmp_path / "artifacts").as_uri(),
        }
    )


@pytest.fixture
def root(repo: Path, tmp_path: Path) -> Path:
    """A folder that passes for a checkout."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(repo / "params.yaml", folder / "params.yaml")
    return folder


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """The smallest real model artifact."""
    folder = tmp_path / "model"
    norms: NormStats = NORMS
    write_artifact(folder, tiny_encoder(1), TINY_CONFIG, norms, random_pixels(4, 2))
    return folder
