"""What a registry says, against the receipts."""

import pytest

from tessera_core.lineage.audit.pointers import RegistryState, check_registry, possible_champions
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.files import canonical_json, digest_json, write_atomically
from tessera_core.records.manifest import Manifest
from tessera_core.records.overrides import last_override, overrides_of
from tests.unit.lineage.audit.built import COMMIT, Run


class World:
    """Versions 1 and 2, of which the receipts made the last promoted one champion."""

    def __init__(self, root):
        self.runs = {}
        self.root = root
        self.tags = {}
        self.champion = None

    def train(self, version, *, champion=None, before=None, is_earned=True):
        """Register a version; ``champion`` serves after it, itself when None, or nobody."""
        run = Run(root=self.root, mark=f"run {version}", version=version)
        run.prepare()
        run.train()
        served = run if champion is None else self.runs[champion]
        digest = Manifest.read(run.paths.model).digest
        self.runs[version] = run
        known = self.tags.get(served.version, {}).get("tessera.model_digest", digest)
        record = run.decision(served, known)
        record["before"] = before if before is not None else self.champion
        record["champion"] = record["champion"] if is_earned else None
        run.record("register", ("pretrain", "evaluate"), [], record)
        self.champion = served.version if is_earned else None
        self.tags[version] = {
            "tessera.model_digest": digest,
            "tessera.receipt.pretrain": run.receipts["pretrain"],
            "tessera.receipt.evaluate": run.receipts["evaluate"],
            "tessera.git_commit": COMMIT,
            "tessera.git_dirty": "false",
            "tessera.simulated": "false",
            "tessera.reasons": "; ".join(record["decision"]["reasons"]),
            **record["tags"],
        }

    def promote(self, version, reason="it is stable"):
        """Move the alias as ``tessera promote`` does."""
        lineage = self.runs["1"].paths.lineage
        record = {
            "kind": "override", "model_name": "tessera", "version": version,
            "model_digest": self.tags[version]["tessera.model_digest"], "before": self.champion,
            "previous": last_override(overrides_of(lineage), "tessera"), "by": "Ann",
            "reason": reason,
        }  # fmt: skip
        digest = digest_json(record)
        write_atomically(lineage / f"{digest}.json", canonical_json(record))
        self.champion = version
        self.tags[version] |= {
            "tessera.override": f"Ann decided: {reason}",
            "tessera.reasons": f"Ann decided: {reason}",
            "tessera.receipt.override": digest,
        }
        return digest

    def findings(self):
        state = RegistryState(model_name="tessera", champion=self.champion, tags=self.tags)
        return check_registry(state, self.runs["1"].paths.lineage)


@pytest.fixture
def world(tmp_path):
    """Version 1 serves, 2 was no better."""
    found = World(tmp_path)
    found.train("1")
    found.train("2", champion="1")
    return found


def test_who_serves_follows_from_receipts_and_the_decisions_of_people(world):
    lineage = world.runs["1"].paths.lineage

    by_rule = possible_champions("tessera", lineage)
    world.promote("2")

    assert (by_rule, possible_champions("tessera", lineage)) == ({"1"}, {"2"})
    assert possible_champions("other", lineage) == set()


def test_a_registry_that_says_what_the_receipts_say_gives_no_finding(world):
    assert world.findings() == []


@pytest.mark.parametrize(
    "tag",
    [
        "tessera.model_digest", "tessera.receipt.pretrain", "tessera.receipt.evaluate",
        "tessera.git_commit", "tessera.git_dirty", "tessera.simulated", "tessera.reasons",
        "tessera.config_digest", "tessera.receipt.override",
    ],
)  # fmt: skip
def test_an_edited_tag_blocks_with_its_name_and_both_values(world, tag):
    was = world.tags["1"].get(tag)
    world.tags["1"][tag] = "edited"

    (finding,) = world.findings()

    assert finding.grade is Grade.BLOCK
    assert finding.artefact == f"registry tessera/1, tag {tag}"
    assert "it says 'edited'" in finding.problem
    assert f"the receipts say {repr(was) if was else 'nothing'}" in finding.problem


def test_a_removed_tag_blocks(world):
    del world.tags["2"]["tessera.receipt.evaluate"]

    (finding,) = world.findings()

    assert "it says None" in finding.problem


@pytest.mark.parametrize("served", ["2", "7", None])
def test_a_replaced_champion_alias_blocks_with_both_values(world, served):
    world.champion = served

    (finding,) = world.findings()

    assert finding.artefact == "registry tessera, alias champion"
    assert finding.problem == f"it says {served!r}, the receipts say '1'"


def test_a_champion_that_moved_on_gives_no_finding_and_may_not_be_moved_back(world):
    world.train("3")
    moved_on = world.findings()
    world.champion = "1"

    (finding,) = world.findings()

    assert moved_on == []
    assert "the receipts say '3'" in finding.problem


def test_decisions_of_people_may_move_the_alias_to_and_fro(world):
    for version in ("2", "1", "2", "1"):
        world.promote(version)
        assert world.findings() == []

    world.champion = "2"

    (finding,) = world.findings()
    assert "the receipts say '1'" in finding.problem


def test_a_registration_after_a_decision_ends_it(world):
    world.promote("2")
    world.train("3", champion="2")
    kept = world.findings()
    world.train("4")

    assert kept == []
    assert world.findings() == []


def test_a_decision_hidden_by_removing_its_tag_blocks(world):
    world.promote("2")
    world.tags["2"]["tessera.override"] = ""

    (finding,) = world.findings()

    assert finding.artefact == "registry tessera/2, tag tessera.override"


def test_a_decision_whose_record_is_no_longer_named_blocks(world):
    world.promote("2")
    del world.tags["2"]["tessera.receipt.override"]

    (finding,) = world.findings()

    assert finding.artefact == "registry tessera/2, tag tessera.receipt.override"


def test_an_override_without_a_record_blocks(world):
    world.champion = "2"
    world.tags["2"] |= {"tessera.override": "Bob decided: so", "tessera.reasons": "so"}

    artefacts = {finding.artefact for finding in world.findings()}

    assert artefacts == {
        "registry tessera/2, tag tessera.override",
        "registry tessera/2, tag tessera.receipt.override",
        "registry tessera/2, tag tessera.reasons",
        "registry tessera, alias champion",
    }


def test_pointers_that_are_gone_are_a_note(world):
    del world.tags["2"]
    (version,) = world.findings()
    world.tags = {}
    (everything,) = world.findings()

    assert (version.grade, everything.grade) == (Grade.NOTE, Grade.NOTE)
    assert version.artefact == "registry tessera/2"
    assert "pointers are gone" in everything.problem


def test_where_no_version_has_earned_it_no_alias_is_expected(tmp_path):
    world = World(tmp_path)
    world.train("1", is_earned=False)

    assert world.findings() == []
    world.champion = "1"
    [finding] = world.findings()
    assert finding.problem == "it says '1', the receipts say None"


def test_whom_a_person_or_the_rule_makes_champion_afterwards_is_expected(tmp_path):
    world = World(tmp_path)
    world.train("1", is_earned=False)
    world.promote("1")
    assert world.findings() == []

    other = World(tmp_path / "other")
    other.train("1", is_earned=False)
    other.train("2")
    assert other.findings() == []
    other.champion = None
    assert [each.grade for each in other.findings()] == [Grade.BLOCK]
