"""A checkout that was copied or moved keeps its artifacts to itself; SQLite and MLflow are real."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.adapters.moved import ARTIFACTS, COLUMNS, bring_home
from flows.adapters.registry import MlflowRegistry
from flows.adapters.tracking import open_run
from flows.context import load_context
from flows.settings import Settings
from tessera_core.errors import StorageError
from tessera_core.model.artifact import write_artifact
from tessera_core.records.files import digest_tree
from tessera_core.records.manifest import Manifest
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels

pytestmark = pytest.mark.timeout(180)


def settings_of(root: Path) -> Settings:
    return Settings().model_copy(
        update={
            "mlflow_tracking_uri": f"sqlite:///{root}/.mlflow/mlflow.db",
            "mlflow_artifacts": (root / ARTIFACTS).as_uri(),
        }
    )


def register(root: Path, artifact: Path, key: str) -> MlflowRegistry:
    """Make the artifact a version by a run of its own."""
    settings = settings_of(root)
    with open_run(settings, key, key) as tracker:
        tracker.log_artifact(artifact / "config.json", "training")
        registry = MlflowRegistry(settings, "tessera", tracker.run_id)
        registry.register(artifact, {"tessera.model_digest": Manifest.read(artifact).digest})
    return registry


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest real model artifact."""
    folder = tmp_path_factory.mktemp("artifact") / "model"
    write_artifact(folder, tiny_encoder(1), TINY_CONFIG, NORMS, random_pixels(4, 2))
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, repo: Path, artifact: Path) -> Path:
    """A checkout with a run and a version; a space in its name is quoted in addresses."""
    root = tmp_path_factory.mktemp("moved") / "the original"
    (root / ".mlflow").mkdir(parents=True)
    shutil.copy(repo / "params.yaml", root / "params.yaml")
    register(root, artifact, "first")
    return root


@pytest.fixture(autouse=True)
def _own_environment(own_environment: None) -> None:
    """MLflow forgets each test's database."""


def addresses(root: Path) -> set[str]:
    """All addresses of artifacts in a checkout's database."""
    with closing(sqlite3.connect(root / ".mlflow" / "mlflow.db")) as connection:
        return {
            str(value)
            for table, column in COLUMNS
            for (value,) in connection.execute(f"SELECT {column} FROM {table}")
        }


def test_what_a_copy_registers_is_in_the_copy_and_the_original_is_untouched(
    original: Path, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(original, tmp_path / "a copy"))
    before = digest_tree(original, original)

    load_context(copy)
    told = capsys.readouterr().err
    registry = register(copy, artifact, "second")
    load_context(copy)

    assert digest_tree(original, original) == before
    assert "those of this checkout now, not those of" in told
    assert "those of this checkout now" not in capsys.readouterr().err
    assert not any("the%20original" in each or str(original) in each for each in addresses(copy))
    registry.fetch("2", tmp_path / "fetched")
    assert Manifest.read(tmp_path / "fetched").digest == Manifest.read(artifact).digest


def test_a_checkout_that_was_moved_finds_its_artifacts(
    original: Path, tmp_path: Path, artifact: Path
) -> None:
    once = Path(shutil.copytree(original, tmp_path / "once"))
    bring_home(once)
    moved = once.rename(tmp_path / "moved")

    assert bring_home(moved) == once
    assert bring_home(moved) is None

    registry = MlflowRegistry(settings_of(moved), "tessera", run_id="")
    registry.fetch("1", tmp_path / "fetched")
    assert Manifest.read(tmp_path / "fetched").digest == Manifest.read(artifact).digest


def test_artifacts_that_were_left_behind_are_copied_too(
    original: Path, tmp_path: Path, artifact: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(original, copy, ignore=shutil.ignore_patterns("artifacts"))

    bring_home(copy)

    here, there = (digest_tree(root / ARTIFACTS, root) for root in (copy, original))
    assert here == there


def test_one_checkout_by_two_paths_is_left_alone(original: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(original)
    before = addresses(original)

    assert bring_home(link) is None
    assert addresses(original) == before


def test_a_database_that_cannot_be_changed_is_told_and_left(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    monkeypatch.setattr("flows.adapters.moved.WAIT_S", 0.1)
    with closing(sqlite3.connect(copy / ".mlflow" / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="came from another checkout"):
            bring_home(copy)

    assert addresses(copy) == addresses(original)
