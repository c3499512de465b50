"""What a reference means: versions and exports, found through receipts alone."""

import pytest

from tessera_core.errors import InputError
from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.lineage.audit.subject import find_subject
from tessera_core.records.manifest import Manifest
from tests.unit.lineage.audit.built import Run, cache_workspace

EXPORT = "tessera-v1-first"


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path).cycle()


def find(reference, run):
    return find_subject(reference, "tessera", run.paths)


def audit(subject):
    return verify_chain(subject.start, subject.paths, require_sources=True)


@pytest.mark.parametrize("reference", ["1", "tessera/1"])
def test_a_version_starts_at_the_registration_that_decided_about_it(run, reference):
    subject = find(reference, run)

    assert (subject.start, subject.folder) == (run.receipts["register"], None)
    assert subject.certificate == run.root / "data/audits" / f"tessera-1-{subject.start[:12]}"
    assert audit(subject).findings == ()


@pytest.mark.parametrize("reference", [EXPORT, f"data/exports/{EXPORT}"])
def test_an_export_starts_at_the_receipt_that_published_it(run, reference):
    subject = find(reference, run)

    assert subject.start == run.receipts["export"]
    assert subject.folder == run.paths.exports / EXPORT
    assert audit(subject).findings == ()


def test_an_export_of_another_workspace_is_audited_there(tmp_path):
    trial = Run(root=tmp_path, workspace=tmp_path / "data" / "runs" / "try").cycle()
    subject = find_subject(EXPORT, "tessera", Run(root=tmp_path).paths)

    assert subject.paths.workspace == trial.paths.workspace
    assert audit(subject).findings == ()


@pytest.mark.parametrize("reference", ["2", "other/1", "nothing", "tessera/one"])
def test_what_no_receipt_knows_is_refused(run, reference):
    with pytest.raises(InputError, match=r"no register receipt|neither a version nor an export"):
        find(reference, run)


def test_a_number_that_was_given_twice_is_refused_with_both_models(run):
    again = Run(root=run.root, mark="second").cycle()

    with pytest.raises(InputError, match="the registry was begun anew") as refused:
        find("1", run)

    assert Manifest.read(again.paths.model).digest[:12] in str(refused.value)


@pytest.fixture
def moved_on(run):
    """The checkout after a second version was trained, registered and became champion."""
    cache_workspace(run.paths)
    later = Run(root=run.root, mark="second", version="2")
    later.cycle()
    cache_workspace(later.paths)
    return later


def test_an_earlier_version_and_its_export_pass_after_the_champion_moved_on(run, moved_on):
    for reference in ("1", EXPORT, "2", "tessera-v1-second"):
        assert audit(find(reference, moved_on)).of(Grade.BLOCK) == []


def test_an_earlier_export_must_still_lie_where_it_was_published(run, moved_on):
    tile = run.paths.exports / EXPORT / "npy/a/2022/a.npy"
    cache_workspace(run.paths)
    tile.write_bytes(b"another map")

    blocked = audit(find(EXPORT, moved_on)).of(Grade.BLOCK)

    assert [finding.artefact for finding in blocked] == [f"data/exports/{EXPORT}/npy/a/2022/a.npy"]
