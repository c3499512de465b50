"""``tessera rebuild-tracking``: a lost MLflow database, made again from receipts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.adapters.registry import MlflowRegistry
from flows.adapters.tracking import find_run_id
from flows.context import load_context
from flows.reporting import training_of
from flows.services.models import find_model
from tessera_core.errors import RecordError
from tessera_core.records.receipt import Receipt
from tessera_core.register.decided import read_decided, require_known_registry
from tests.flows.told import Told

pytestmark = pytest.mark.timeout(300)

Tessera = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(root: Path) -> Told:
    """Two versions, of which a person preferred the second; MLflow knows nothing of them."""
    told = Told(root)
    for seed in (0, 5):
        told.train(seed)
    told.decide(0, 1, "champion", (1, 0), "first version")
    told.decide(5, 2, "challenger", (1, 0), "no better", compared=True)
    told.override(5, 2, 1, "Ann")
    return told


@pytest.fixture
def pruned(told: Told) -> Told:
    """The same, but no model is left anywhere: quick to rebuild."""
    for seed in (0, 5):
        shutil.rmtree(told.paths(seed).model)
    return told


def mlflow_of(root: Path) -> MlflowClient:
    uri = load_context(root).settings.mlflow_tracking_uri
    return MlflowClient(uri, registry_uri=uri)


def everything(root: Path) -> dict[str, Any]:
    """All that MLflow can show, without ids and times."""
    client = mlflow_of(root)
    names = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(names)
    versions = client.search_model_versions()
    return {
        "runs": sorted((run.info.run_id, sorted(run.data.tags.items())) for run in runs),
        "metrics": sorted((run.info.run_id, sorted(run.data.metrics.items())) for run in runs),
        "versions": sorted((v.name, v.version, sorted(v.tags.items())) for v in versions),
        "aliases": {m.name: m.aliases for m in client.search_registered_models()},
    }


def test_runs_versions_aliases_and_reasons_come_back_and_a_second_time_nothing_changes(
    tessera: Tessera, told: Told, root: Path
) -> None:
    code, said, _ = tessera("rebuild-tracking")
    before = everything(root)
    again, nothing, _ = tessera("rebuild-tracking")

    client, settings = mlflow_of(root), load_context(root).settings
    receipt = Receipt.read(told.paths(5).receipt("pretrain"))
    key, name = training_of(receipt)
    run = client.get_run(find_run_id(settings, key))
    history = client.get_metric_history(run.info.run_id, "loss/total")
    second = client.get_model_version("tessera", "2")
    assert (code, again) == (0, 0)
    assert f"restored  run {name}, 2 steps of history" in said
    assert "tessera@champion is version 2" in said
    assert nothing.startswith("nothing restored; 8 runs and versions were there")
    assert everything(root) == before
    assert [(each.step, each.value) for each in history] == [(1, 4.0), (2, 3.0)]
    assert run.data.params["pretrain.seed"] == "5"
    assert client.list_artifacts(run.info.run_id, "training")[0].path == "training/curves.png"
    assert second.run_id == run.info.run_id
    assert second.tags["tessera.reasons"] == "Ann decided: seams"
    assert second.tags["tessera.receipt.evaluate"] == told.scored[5]["evaluate"]
    assert client.get_registered_model("tessera").aliases == {"champion": 2}
    assert find_model(load_context(root), "tessera/1").name == "tessera v1"
    assert find_model(load_context(root), "tessera").name == "tessera v2"


def test_only_what_is_missing_is_added(tessera: Tessera, pruned: Told, root: Path) -> None:
    tessera("rebuild-tracking")
    client, settings = mlflow_of(root), load_context(root).settings
    key, name = training_of(Receipt.read(pruned.paths(0).receipt("pretrain")))
    client.delete_run(find_run_id(settings, key))
    client.delete_registered_model_alias("tessera", "champion")
    client.delete_model_version_tag("tessera", "1", "tessera.reasons")
    client.set_model_version_tag("tessera", "2", "tessera.reasons", "a note of a person")

    _, said, _ = tessera("rebuild-tracking")

    restored = [line for line in said.splitlines() if line.startswith("restored")]
    assert restored == [
        f"restored  run {name}, 2 steps of history",
        "restored  tags of version 1: tessera.reasons",
        "restored  tessera@champion is version 2",
    ]
    tags = client.get_model_version("tessera", "2").tags
    assert tags["tessera.reasons"] == "a note of a person"


def test_an_alias_that_disagrees_with_the_receipts_is_told_and_left(
    tessera: Tessera, pruned: Told, root: Path
) -> None:
    tessera("rebuild-tracking")
    mlflow_of(root).set_registered_model_alias("tessera", "champion", "1")

    code, said, _ = tessera("rebuild-tracking")

    assert code == 0
    assert "tessera@champion is version 1, and receipts tell of 2; left as it is" in said
    assert mlflow_of(root).get_registered_model("tessera").aliases == {"champion": 1}


def test_of_a_pruned_version_number_and_tags_are_kept_and_the_rest_is_said(
    tessera: Tessera, pruned: Told, root: Path
) -> None:
    code, said, _ = tessera("rebuild-tracking")

    client = mlflow_of(root)
    assert code == 0
    assert "tessera version 1: its artifact was pruned; number and tags are kept" in said
    first = client.get_model_version("tessera", "1")
    assert first.tags["tessera.model_digest"] == pruned.scored[0]["model_digest"]
    assert client.get_model_version("tessera", "2").tags["tessera.reasons"] == "Ann decided: seams"
    assert client.get_registered_model("tessera").aliases == {"champion": 2}


def test_a_number_that_no_receipt_explains_stays_free(
    tessera: Tessera, pruned: Told, root: Path
) -> None:
    pruned.train(6)
    shutil.rmtree(pruned.paths(6).model)
    pruned.decide(6, 4, "challenger", (2, 5), "no better", compared=True)

    tessera("rebuild-tracking")

    versions = mlflow_of(root).search_model_versions("name = 'tessera'")
    assert sorted(int(each.version) for each in versions) == [1, 2, 4]


def test_imported_weights_are_registered_again(
    tessera: Tessera, imported: str, pruned: Told, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(root)["versions"]
    # This process holds the first database open, so it is lost by looking elsewhere.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'another.db'}")

    tessera("rebuild-tracking")

    assert [each for each in everything(root)["versions"] if each[0] == imported] == before


def test_without_receipts_nothing_is_pretended(tessera: Tessera) -> None:
    code, _, complaint = tessera("rebuild-tracking")

    assert code == 2
    assert "holds no receipt" in complaint


def test_a_version_that_was_deleted_holds_nothing_up_once_it_is_known(
    tessera: Tessera, pruned: Told, root: Path
) -> None:
    assert tessera("rebuild-tracking")[0] == 0
    registry = MlflowRegistry(load_context(root).settings, "tessera", run_id="")
    decided = read_decided("tessera", root / "data" / "lineage")
    registry.delete("2")
    with pytest.raises(RecordError, match="up to version 2, the registry only up to 1"):
        require_known_registry("tessera", decided, registry.listed(), registry.reached())

    assert tessera("rebuild-tracking")[0] == 0

    assert [each.version for each in registry.listed()] == ["1"]
    require_known_registry("tessera", decided, registry.listed(), registry.reached())
