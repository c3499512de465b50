"""A registry that fails is never an answer: a real MLflow server, each of its answers spoilt."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.adapters.registry import MlflowRegistry
from flows.adapters.tracking import open_run
from flows.context import load_context
from flows.services.auditing import registry_findings
from flows.settings import RETRIES, Settings
from tessera_core.config import PlatformConfig
from tessera_core.errors import RemoteError
from tessera_core.lineage.audit.report import Grade
from tessera_core.ports import NullTracker, Ports, map_serially
from tessera_core.register import stage
from tests.flows.conftest import run_in
from tests.flows.faulty_mlflow import FAULTS, SILENCE, FaultyServer, faulty_mlflow
from tests.unit.register.built import Workshop

pytestmark = pytest.mark.timeout(600)

NAMES = count(1)
"""Registered models of one server are told apart by their names."""

ASKED: dict[str, Callable[[MlflowRegistry], Any]] = {
    "champion": lambda registry: registry.champion(),
    "find": lambda registry: registry.find("a" * 64),
    "reached": lambda registry: registry.reached(),
    "tags_of": lambda registry: registry.tags_of("2"),
    "run_of": lambda registry: registry.run_of("2"),
}
TOLD: dict[str, Callable[[MlflowRegistry], Any]] = {
    "set_alias": lambda registry: registry.set_alias("champion", "2", {"tessera.reasons": "b"}),
    "note_reached": lambda registry: registry.note_reached(9),
    "hold_number": lambda registry: registry.hold_number({"tessera.model_digest": "c" * 64}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    with faulty_mlflow(tmp_path_factory.mktemp("faulty")) as serving:
        yield serving


@pytest.fixture
def settings(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A client that asks once."""
    monkeypatch.setenv(RETRIES, "0")
    yield Settings().model_copy(update={"mlflow_tracking_uri": server.address})
    server.spoil(0, "")


def two_versions(server: FaultyServer, name: str) -> MlflowClient:
    """Register version 1, which serves, and 2, which challenges."""
    server.spoil(0, "")
    client = MlflowClient(server.address, registry_uri=server.address)
    client.create_registered_model(name)
    for digest in ("a", "b"):
        tags = {"tessera.model_digest": digest * 64, "tessera.receipt.evaluate": digest}
        client.create_model_version(name, source="s3://nowhere/model", tags=tags)
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "challenger", "2")
    return client


def test_only_the_registrys_own_word_means_none(server: FaultyServer, settings: Settings) -> None:
    name = f"model-{next(NAMES)}"
    nothing = MlflowRegistry(settings, name, run_id="")
    assert (nothing.champion(), nothing.newest(), nothing.reached()) == (None, None, 0)

    two_versions(server, name)

    registry = MlflowRegistry(settings, name, run_id="")
    assert registry.by_alias("nobody") is None
    assert registry.find("f" * 64) is None
    assert registry.version("7") is None
    champion = registry.champion()
    assert champion is not None
    assert champion.version == "1"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_question_takes_a_spoilt_answer_for_an_answer(
    server: FaultyServer, settings: Settings, fault: str
) -> None:
    name = f"model-{next(NAMES)}"
    two_versions(server, name)
    registry = MlflowRegistry(settings, name, run_id="")
    for question, ask in ASKED.items():
        server.spoil(0, "")
        expected = ask(registry)
        for number in range(1, len(server.asked) + 1):
            server.spoil(number, fault)
            with pytest.raises(RemoteError) as raised:
                ask(registry)

            said = str(raised.value)
            assert server.is_spoilt, question
            assert said.startswith(f"MLflow at {server.address} gave no usable answer to "), said
            assert "\n" not in said
            assert "run the same command again" in said
        server.spoil(0, "")
        assert ask(registry) == expected


def test_a_registry_that_keeps_silent_is_not_one_without_a_champion(
    server: FaultyServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"model-{next(NAMES)}"
    two_versions(server, name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    server.spoil(1, SILENCE)

    with pytest.raises(RemoteError, match="timed out"):
        MlflowRegistry(settings, name, run_id="").champion()


@pytest.mark.parametrize("fault", ["broken", "an empty object", "a lost answer"])
def test_no_order_is_taken_for_done_and_the_same_order_again_does_it(
    server: FaultyServer, settings: Settings, fault: str
) -> None:
    for told, tell in TOLD.items():
        for number in count(1):
            name = f"model-{next(NAMES)}"
            client = two_versions(server, name)
            registry = MlflowRegistry(settings, name, run_id="")
            server.spoil(number, fault)
            is_told = False
            try:
                tell(registry)
                is_told = True  # MLflow also asks for itself, and goes on without an answer
            except RemoteError:
                assert server.is_spoilt
            is_spoilt = server.is_spoilt
            server.spoil(0, "")
            if not is_told and told != "hold_number":  # whoever makes a version looks first
                tell(registry)
            aliases = client.get_registered_model(name).aliases
            moved = {"champion": "2"} if told == "set_alias" else {"champion": "1"}
            assert {"champion": str(aliases["champion"])} == moved
            assert ("challenger" in aliases) == (told != "set_alias")
            assert registry.reached() == (9 if told == "note_reached" else len(registry.listed()))
            if not is_spoilt:
                break


def test_a_version_whose_answer_was_lost_is_not_made_twice_by_a_retry(
    server: FaultyServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RETRIES, "3")
    name = f"model-{next(NAMES)}"
    two_versions(server, name)
    registry = MlflowRegistry(settings, name, run_id="")
    server.spoil(2, "a lost answer")

    with pytest.raises(RemoteError, match="create_model_version"):
        registry.hold_number({"tessera.model_digest": "c" * 64})

    assert server.asked == ["GET registered-models/get", "POST model-versions/create"]
    found = registry.find("c" * 64)
    assert found is not None
    assert found.version == "3"
    assert len(registry.listed()) == 3


@pytest.mark.parametrize("fault", ["forbidden", "an empty object"])
def test_a_command_says_in_one_sentence_that_the_registry_failed_and_changes_nothing(
    server: FaultyServer, settings: Settings, root: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, fault: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    name = f"model-{next(NAMES)}"
    client = two_versions(server, name)
    chosen = ("--set", f"register.model_name={name}")
    promote = ("promote", "2", "--by", "Ann", "--reason", "seams", *chosen)
    for words in (promote, ("audit", f"{name}@champion", *chosen)):
        server.spoil(1, fault)
        code, _, complaint = run_in(root, capsys, *words)

        assert code == 1
        assert "Traceback" not in complaint
        assert f"MLflow at {server.address} gave no usable answer" in " ".join(complaint.split())

    assert client.get_registered_model(name).aliases["champion"] == "1"
    assert not list(root.glob("data/lineage/*.json"))


def test_an_audit_warns_that_it_could_not_compare(
    server: FaultyServer, settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    name = f"model-{next(NAMES)}"
    two_versions(server, name)
    server.spoil(1, "forbidden")

    (finding,) = registry_findings(load_context(root), name)

    assert finding.grade is Grade.WARN
    assert finding.problem.startswith("it was not compared with the receipts: MLflow at")


def challenged(server: FaultyServer, settings: Settings, root: Path, repo: Path) -> Workshop:
    """Return a workshop whose second model is better than the one that serves."""
    name = f"model-{next(NAMES)}"
    config = PlatformConfig.read(repo / "params.yaml")
    config = replace(config, register=replace(config.register, model_name=name))
    workshop = Workshop(root=root, config=config)
    registry: Any = MlflowRegistry(settings, name, run_id="")
    workshop.registry = registry
    workshop.train(seed=1)
    first = workshop.evaluate(accuracy=0.7)
    client = MlflowClient(server.address, registry_uri=server.address)
    client.create_registered_model(name)
    tags = {
        "tessera.model_digest": workshop.model_digest, "tessera.receipt.evaluate": first.digest,
    }  # fmt: skip
    client.create_model_version(name, source="s3://nowhere/model", tags=tags)
    client.set_registered_model_alias(name, "champion", "1")
    workshop.train(seed=2)
    workshop.evaluate(accuracy=0.95)
    workshop.compare()
    return workshop


def register(workshop: Workshop, settings: Settings) -> dict[str, Any]:
    """Run the stage as the task does; its facts, without what only this workshop has."""
    name = workshop.config.register.model_name
    with open_run(settings, name, name) as tracker:
        ports = Ports(
            tracker=NullTracker(), registry=MlflowRegistry(settings, name, tracker.run_id),
            mapper=map_serially, data_versions={},
        )  # fmt: skip
        facts = dict(stage.run(workshop.config, workshop.paths, ports).facts)
    names = ("decision", "evidence", "candidate", "champion", "before")
    return {each: facts[each] for each in names}


@pytest.mark.slow  # only it spoils each registry call of a whole registration, which logs a model
def test_a_registration_whose_registry_fails_at_any_call_ends_as_if_undisturbed(
    server: FaultyServer, settings: Settings, tmp_path: Path, repo: Path
) -> None:
    undisturbed = challenged(server, settings, tmp_path / "undisturbed", repo)
    server.spoil(0, "")
    expected = register(undisturbed, settings)
    calls = list(server.asked)
    assert expected["decision"]["alias"] == "champion"
    for number, call in enumerate(calls, start=1):
        fault = FAULTS[number % len(FAULTS)]
        workshop = challenged(server, settings, tmp_path / str(number), repo)
        served = workshop.registry.champion()
        assert served is not None
        server.spoil(number, fault)
        with pytest.raises(RemoteError):
            register(workshop, settings)
        is_spoilt, asked = server.is_spoilt, len(server.asked)
        server.spoil(0, "")
        first_move = calls.index("POST registered-models/alias") + 1
        if number < first_move:
            assert workshop.registry.champion() == served, f"{call} {fault}: promoted unjudged"

        found = register(workshop, settings)

        assert is_spoilt, call
        assert asked == number, f"{call} {fault}: it went on"
        assert found == expected, f"{call} {fault}"
        registry: Any = workshop.registry
        assert [each.version for each in registry.listed()] == ["1", "2"]
        assert registry.champion().version == "2"
