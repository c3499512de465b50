"""Package versions: kept by digest with every receipt, and told apart by name later."""

from dataclasses import replace

import pytest

from tessera_core.lineage.replay.environment import changed_versions, environment_findings
from tessera_core.records.code import environment_digest, environment_versions
from tessera_core.records.files import canonical_json, digest_json, write_atomically
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, read_versions, write_receipt
from tests.unit.lineage.audit.built import Run


@pytest.fixture
def paths(tmp_path):
    return Paths(root=tmp_path, workspace=tmp_path)


@pytest.fixture
def receipt(tmp_path):
    run = Run(root=tmp_path)
    run.prepare()
    made = Receipt.read(run.paths.receipt("shuffle"))
    return replace(made, environment=environment_digest())


def test_the_versions_behind_a_receipt_are_stored_with_it(receipt, paths):
    write_receipt(receipt, paths.receipt("shuffle"), paths.lineage)

    assert read_versions(receipt.environment, paths.lineage) == environment_versions()


def test_versions_of_somebody_else_are_not_claimed(receipt, paths):
    write_receipt(replace(receipt, environment="f" * 64), paths.receipt("shuffle"), paths.lineage)

    assert read_versions("f" * 64, paths.lineage) is None


def test_the_same_environment_is_no_finding(receipt, paths):
    assert environment_findings([receipt], paths) == []


def test_a_bumped_package_is_named(receipt, paths):
    recorded = {**environment_versions(), "torch": "1.2.3"}
    digest = digest_json(recorded)
    write_atomically(paths.lineage / f"{digest}.json", canonical_json(recorded))

    (finding,) = environment_findings([replace(receipt, environment=digest)], paths)

    assert finding.artefact == "environment of shuffle"
    now = environment_versions()["torch"]
    assert finding.problem == f"package versions are others now: torch 1.2.3 -> {now}"


def test_without_the_recorded_versions_the_difference_is_still_a_finding(receipt, paths):
    (finding,) = environment_findings([replace(receipt, environment="f" * 64)], paths)

    assert "nobody can say which" in finding.problem


def test_altered_versions_are_not_believed(paths):
    digest = digest_json({"torch": "1.2.3"})
    write_atomically(paths.lineage / f"{digest}.json", canonical_json({"torch": "1.2.4"}))

    assert read_versions(digest, paths.lineage) is None


def test_packages_that_came_or_went_are_changes_too():
    assert changed_versions({"a": "1", "b": "2"}, {"b": "2", "c": "3"}) == [
        "a 1 -> absent",
        "c absent -> 3",
    ]
