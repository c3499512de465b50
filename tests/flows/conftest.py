"""A Prefect server in this process, a small checkout, and MLflow on SQLite: all real."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from flows.cli.main import main
from flows.settings import Settings
from tessera_core.domain.norms import NormStats
from tessera_core.model.artifact import write_artifact
from tessera_core.model.family import Family
from tessera_core.testing.benchmarks import lay_benchmarks
from tessera_core.testing.checkpoints import released_content, tiny_release
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.tiles import make_tile

STUDENT = tiny_release(Family.V2_STUDENT, qk_norm=True)
"""A student in miniature."""


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
    lay_benchmarks(repo, folder)
    return folder


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """The smallest real model artifact."""
    folder = tmp_path / "model"
    norms: NormStats = NORMS
    write_artifact(folder, tiny_encoder(1), TINY_CONFIG, norms, random_pixels(4, 2))
    return folder


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what activating settings writes, and what MLflow remembers."""
    import mlflow

    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    yield
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    os.environ.pop("MLFLOW_REGISTRY_URI", None)


def run_in(root: Path, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run a command in a checkout; returns exit code, output and complaints."""
    code = main([*(str(word) for word in words), "--root", str(root)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def tessera(
    own_environment: None, root: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command line in a checkout of the test's own."""
    return partial(run_in, root, capsys)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A student in miniature, as its authors would save it."""
    path = tmp_path / "student.pt"
    torch.save(released_content(STUDENT, seed=1), path)
    return path


@pytest.fixture
def tile(tmp_path: Path) -> Path:
    """A small tile directory."""
    made = make_tile(seed=1)
    return write_tile_directory(
        tmp_path / "33UXP", tile_arrays(made), tile_document(made.grid, 2022)
    )


@pytest.fixture
def imported(tessera, checkpoint: Path) -> str:
    """The name of a model that is registered."""
    code, _, complaint = tessera(
        "import-weights", checkpoint, "--family", "v2-student", "--name", "student"
    )
    assert code == 0, complaint
    return "student"
