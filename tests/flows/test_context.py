"""Where a run's outputs go, and what it refuses before anything starts."""

import os
from pathlib import Path

import pytest

from flows.context import load_context, require_questions
from flows.settings import Settings, activate
from tessera_core.errors import AbsentDataError, ConfigError, InputError, SceneError


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


@pytest.mark.parametrize(
    ("setting", "error", "hint"),
    [
        ("evaluate.tasks=[crop_typo]", ConfigError, "crop_type"),
        ("evaluate.tasks=[pastis_r]", AbsentDataError, "evaluate.tasks asks for pastis_r, but"),
        ("ingest.path=../nowhere", SceneError, "ingest.path names ../nowhere, but there is no /"),
        ("evaluate.labels=nowhere", SceneError, "nowhere"),
        ("evaluate.references=[data/imported/no]", ConfigError, "evaluate.references names data"),
        ("pretrain.imported=data/imported/no", ConfigError, "holds no model artifact"),
        ("pretrain.teacher=data/imported/no", ConfigError, "`tessera import-weights` makes one"),
        ("pretrain.continue_from=data/no", ConfigError, "holds no checkpoint"),
    ],
)
def test_what_could_only_fail_late_is_refused_before_any_work(
    root: Path, setting: str, error: type[InputError], hint: str
) -> None:
    context = load_context(root, [setting])

    with pytest.raises(error, match=hint):
        require_questions(context)

    assert not context.paths.workspace.exists()


def test_the_shipped_settings_and_every_task_about_the_samples_are_accepted(root: Path) -> None:
    require_questions(load_context(root))
    for task in ("crop_type", "canopy_height", "land_cover", "crop_presence"):
        require_questions(load_context(root, [f"evaluate.tasks=[{task}]"]))
