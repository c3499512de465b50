"""What was decided is finished, whatever came between; an older registry is refused."""

import json
import shutil
from dataclasses import replace

import pytest

from tessera_core.errors import RecordError, RemoteError
from tessera_core.register import stage
from tessera_core.testing.registry import InMemoryRegistry

NAMES = ("decision", "evidence", "candidate", "champion", "before", "tags")


class Failing(InMemoryRegistry):
    """A registry that stops answering: ``before`` the alias moves, or right ``after`` it."""

    def set_alias(self, alias, version, tags):
        if when[0] == "after":
            super().set_alias(alias, version, tags)
        if when[0]:
            when[0] = ""
            raise RemoteError("it went away")
        super().set_alias(alias, version, tags)


when = [""]


@pytest.fixture
def waiting(workshop):
    """Version 1 serves by the rule; a better model waits to be registered."""
    when[0] = ""
    workshop.registry = Failing(folder=workshop.root / "registry")
    workshop.train(seed=1)
    workshop.evaluate(accuracy=0.7)
    register(workshop)
    workshop.train(seed=2)
    workshop.evaluate(accuracy=0.95)
    workshop.compare()
    return workshop


def register(workshop):
    outcome = stage.run(workshop.config, workshop.paths, workshop.ports)
    workshop.record("register", {}, outcome.facts, workshop.paths.registration)
    return {name: outcome.facts[name] for name in NAMES}


def interrupt(workshop, moment):
    when[0] = moment
    with pytest.raises(RemoteError):
        register(workshop)


def decisions(workshop):
    found = [json.loads(path.read_bytes()) for path in workshop.paths.lineage.glob("*.json")]
    return [each for each in found if each.get("kind") == "decision"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_decision_is_finished_with_its_reasons_and_numbers(waiting, moment):
    interrupt(waiting, moment)

    facts = register(waiting)

    assert facts["decision"]["alias"] == "champion"
    assert "crop_type: accuracy" in "; ".join(facts["decision"]["reasons"])
    assert facts["decision"]["numbers"]["tasks"]
    assert facts["evidence"]
    assert facts["before"] == "1"
    assert facts["tags"]["tessera.model_digest"] == waiting.model_digest
    assert waiting.registry.aliases == {"champion": "2"}
    assert len(waiting.registry.versions) == len(decisions(waiting)) == 2


def test_the_decision_is_on_disk_before_the_registry_hears_of_it(waiting):
    writes = waiting.registry.num_writes
    waiting.registry.register = lambda *_: (_ for _ in ()).throw(RemoteError("it went away"))

    with pytest.raises(RemoteError):
        register(waiting)

    assert waiting.registry.num_writes == writes
    assert [each["model_digest"] == waiting.model_digest for each in decisions(waiting)].count(True)


def test_a_lost_registration_folder_comes_back_with_the_reasons_that_it_had(waiting):
    told = register(waiting)
    shutil.rmtree(waiting.paths.registration)

    assert register(waiting) == told


def test_what_a_person_decides_after_an_interruption_is_not_undone(waiting):
    interrupt(waiting, "after")
    waiting.registry.set_alias("champion", "1", {"tessera.override": "Ann decided: seams in 2"})

    facts = register(waiting)

    assert waiting.registry.aliases == {"champion": "1", "challenger": "2"}
    assert "Ann decided: seams in 2" in facts["decision"]["reasons"][0]


def test_where_another_version_serves_by_now_it_is_decided_anew_and_said(waiting):
    interrupt(waiting, "before")
    waiting.train(seed=3)
    waiting.evaluate(accuracy=0.93)
    waiting.compare()
    other = waiting.registry.register(
        waiting.paths.model,
        {
            "tessera.model_digest": waiting.model_digest,
            "tessera.receipt.evaluate": waiting.evaluate(accuracy=0.93).digest,
        },
    )
    waiting.registry.set_alias("champion", other.version, {})
    waiting.train(seed=2)
    waiting.evaluate(accuracy=0.95)
    waiting.compare()

    facts = register(waiting)

    assert facts["before"] == other.version
    assert facts["decision"]["reasons"][-1].startswith("decided anew: who serves has changed")


def older(registry):
    """Forget the newest version, as a backup does that was made before it."""
    registry.versions.pop()
    shutil.rmtree(registry.artifact(str(len(registry.versions) + 1)))
    registry.aliases = {"champion": "1"}


def test_a_registry_older_than_the_lineage_gives_no_number_twice(waiting):
    register(waiting)
    older(waiting.registry)
    waiting.train(seed=3)
    waiting.evaluate(accuracy=0.97)
    before = sorted(waiting.paths.lineage.iterdir())

    with pytest.raises(RecordError, match=r"up to version 2, the registry only up to 1.*rebuild"):
        stage.run(waiting.config, waiting.paths, waiting.ports)

    assert [each.version for each in waiting.registry.versions] == ["1"]
    assert sorted(waiting.paths.lineage.iterdir()) == before


def test_an_empty_registry_beside_a_full_lineage_is_refused_too(waiting):
    waiting.registry = InMemoryRegistry(folder=waiting.root / "another")

    with pytest.raises(RecordError, match=r"up to version 1, the registry only up to none"):
        stage.run(waiting.config, waiting.paths, waiting.ports)


def test_a_number_that_stands_for_another_model_than_in_the_lineage_is_refused(waiting):
    waiting.registry.versions = [
        replace(each, model_digest="f" * 64) for each in waiting.registry.versions
    ]

    with pytest.raises(RecordError, match=r"version 1 of tessera is model f{12} in the registry"):
        stage.run(waiting.config, waiting.paths, waiting.ports)
