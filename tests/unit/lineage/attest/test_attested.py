"""Versions and exports are found in the lineage alone, and only where it is whole."""

import pytest

from tessera_core.errors import InputError, RecordError
from tessera_core.lineage.attest.attested import find_attested
from tests.unit.lineage.attest.built import EXPORT


def test_a_version_is_found_by_its_number_and_by_its_name(world):
    by_number, by_name = (find_attested(each, world.paths) for each in ("2", "tessera/2"))

    assert by_number == by_name
    assert (by_name.name, by_name.version, by_name.is_export) == ("tessera-v2", "2", False)
    assert [receipt.stage for receipt in by_name.receipts.values()] == [
        "ingest", "quality", "shuffle", "pretrain", "evaluate", "register",
    ]  # fmt: skip
    assert by_name.registered.facts["decision"]["reasons"] == ["reason of 2"]


def test_an_export_stands_on_the_champion_and_not_on_the_candidate_beside_it(world):
    subject = find_attested(EXPORT, world.paths)

    assert (subject.name, subject.version, subject.is_export) == (EXPORT, "1", True)
    assert subject.model_digest == find_attested("1", world.paths).model_digest
    assert subject.registered.facts["decision"]["reasons"] == ["reason of 1"]
    assert [receipt.stage for receipt in subject.receipts.values()].count("pretrain") == 1


def test_what_nobody_made_is_refused_with_what_there_is(world):
    with pytest.raises(InputError, match=r"no version and no export 3\. Known: .*tessera/1"):
        find_attested("3", world.paths)
    with pytest.raises(InputError, match="no version and no export other/1"):
        find_attested("other/1", world.paths)


def test_nothing_is_attested_on_a_receipt_that_was_changed_or_lost(world):
    subject = find_attested("1", world.paths)
    path = world.paths.lineage / f"{subject.training['pretrain']}.json"
    content = path.read_bytes()

    path.write_bytes(content + b" ")
    with pytest.raises(RecordError, match=rf"{path.name} was changed"):
        find_attested("1", world.paths)
    path.unlink()
    with pytest.raises(RecordError, match=f"lost receipt {path.stem[:12]}"):
        find_attested("1", world.paths)


def test_nothing_is_attested_on_a_manifest_that_was_changed_or_lost(world):
    file = find_attested("1", world.paths).manifest_files["samples"]
    path = world.paths.lineage / f"{file.sha256}.json"

    path.write_bytes(b"{}")
    with pytest.raises(RecordError, match=rf"{path.name} was changed"):
        find_attested("1", world.paths)
    path.unlink()
    with pytest.raises(RecordError, match=r"lost data/samples/manifest\.json"):
        find_attested("1", world.paths)


def test_a_number_that_two_models_have_asks_for_the_name(world):
    chain = world.version("1")
    facts = dict(find_attested("1", world.paths).registered.facts) | {"model_name": "fields"}
    upstream = {stage: chain[stage] for stage in ("pretrain", "evaluate")}
    world.record("register", upstream, [], facts)

    with pytest.raises(InputError, match="name fields/1 or tessera/1"):
        find_attested("1", world.paths)
    assert find_attested("fields/1", world.paths).model_name == "fields"
