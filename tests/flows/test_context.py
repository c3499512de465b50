"""Where a run's outputs go, and what it refuses before anything starts."""

import os
from pathlib import Path

import pytest

from flows.context import load_context
from flows.settings import Settings, activate
from tessera_core.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what activating settings writes."""
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")


def test_without_overrides_outputs_go_to_the_checkout(root: Path) -> None:
    context = load_context(root)

    assert context.paths.workspace == context.paths.root == root


def test_overrides_give_a_workspace_that_is_found_again(root: Path) -> None:
    first = load_context(root, ["pretrain.seed=99"])
    again = load_context(root, ["pretrain.seed=99"])
    other = load_context(root, ["pretrain.seed=98"])

    assert first.paths.workspace == again.paths.workspace
    assert first.paths.workspace.parent == root / "data" / "runs"
    assert other.paths.workspace != first.paths.workspace
    assert first.paths.lineage == load_context(root).paths.lineage


def test_an_override_that_changes_nothing_stays_in_the_checkout(root: Path) -> None:
    assert load_context(root, ["pretrain.seed=17"]).paths.workspace == root


def test_a_folder_without_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no params\.yaml; run in a Tessera checkout"):
        load_context(tmp_path)


def test_an_empty_variable_counts_as_the_embedded_default(root: Path) -> None:
    settings = activate(root)

    assert settings.mlflow_tracking_uri == f"sqlite:///{root / '.mlflow' / 'mlflow.db'}"
    assert os.environ["PREFECT_HOME"] == str(root / ".prefect")
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_a_given_server_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")

    settings = activate(root)

    assert settings.mlflow_tracking_uri == "http://127.0.0.1:5999"
    assert settings.mlflow_artifacts == ""
    assert not (root / ".mlflow").exists()
