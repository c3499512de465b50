"""Files from outside the checkout: whole they pass wherever they lie, changed they are named.

The folders are so deep that a name with one ``../`` too many leads to another place, not to ``/``.
"""

import hashlib
import shutil

import pytest

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.files import write_json
from tessera_core.records.manifest import write_manifest
from tessera_core.records.paths import Paths
from tests.unit.lineage.audit.built import Run

DEEP = "a/b/c/d/e/f"
"""Of the folder that the checkout lies in, below the test's own."""

SETTINGS = {
    "beside": "../data",
    "above": "../../../data",
    "far": "{top}/far/data",
    "fixed and beside": "{top}/a/b/c/d/e/f/data",
    "through a link beside": "../link",
    "through a link far away": "{top}/link",
    "through a link in the checkout": "data/external",
}
"""Where data lies -> the setting that says so."""

MOVES = ("in place", "checkout alone", "both together")


@pytest.fixture(params=SETTINGS)
def setting(request, tmp_path):
    """The setting, with the links that it goes through."""
    top, home = tmp_path, tmp_path / DEEP
    (home / "checkout" / "data").mkdir(parents=True)
    (top / "disk").mkdir()
    for link in (home / "link", top / "link", home / "checkout" / "data" / "external"):
        link.symlink_to(top / "disk")
    return SETTINGS[request.param].format(top=top)


@pytest.fixture
def run(setting, tmp_path):
    """A run whose scenes, labels, teacher and checkpoint all lie there."""
    root = tmp_path / DEEP / "checkout"
    data = root / setting
    teacher = data / "teacher"
    teacher.mkdir(parents=True)
    (teacher / "encoder.safetensors").write_bytes(b"weights")
    write_manifest(teacher, "model", {})
    (data / "step-00000004.pt").write_bytes(b"state")
    claim = {"sha256": hashlib.sha256(b"state").hexdigest(), "size": 5}
    write_json(data / "step-00000004.json", claim)
    return Run(
        root=root, scene_folder=f"{setting}/scenes", label_folder=f"{setting}/labels",
        given=(teacher / "manifest.json", data / "step-00000004.json"),
    ).cycle()  # fmt: skip


FILES = (
    "scenes/a.tif", "labels/crop_type.tif", "teacher/manifest.json",
    "teacher/encoder.safetensors", "step-00000004.json", "step-00000004.pt",
)  # fmt: skip

OWN = (*FILES[:3], "step-00000004.json")
"""Those that the receipts name themselves; the others are what these vouch for."""


def audit(run, root, data=()):
    paths = Paths(root=root, workspace=root)
    return verify_chain(run.receipts["export"], paths, require_sources=True, data=data)


def blocked(report):
    return {finding.artefact for finding in report.of(Grade.BLOCK)}


def move(run, how, tmp_path):
    """Return where the checkout lies after a move."""
    target = tmp_path / "moved" / "to" / "another" / "depth"
    target.parent.mkdir(parents=True)
    if how == "in place":
        return run.root
    if how == "checkout alone":
        shutil.move(run.root, target)
        return target
    shutil.move(run.root.parent, target)
    if run.scene_folder.startswith("../../../"):
        shutil.move(tmp_path / "a/b/c/d/data", target.parent.parent / "data")
    return target / "checkout"


@pytest.mark.parametrize("how", MOVES)
def test_what_lies_outside_passes_and_a_changed_byte_is_named(run, setting, how, tmp_path):
    root = move(run, how, tmp_path)

    report = audit(run, root)
    assert report.passed, report.of(Grade.BLOCK)
    assert not report.findings

    for name in FILES:
        path = next(p for p in candidates(run, root, setting, tmp_path) if (p / name).exists())
        whole = (path / name).read_bytes()
        (path / name).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        assert blocked(audit(run, root)) == {f"{setting}/{name}"}, name
        (path / name).write_bytes(whole)


def candidates(run, root, setting, tmp_path):
    """Yield the folders that the data may lie in after a move, by another rule than the code's."""
    yield root / setting
    yield from (tmp_path / DEEP / "data", tmp_path / DEEP / "link", tmp_path / "a/b/c/d/data")
    yield root.parent / "data"


def test_a_missing_source_is_named_with_the_place_that_was_looked_at(run, setting):
    (run.root / setting / "scenes" / "a.tif").unlink()

    (finding,) = audit(run, run.root).of(Grade.BLOCK)

    assert finding.artefact == f"{setting}/scenes/a.tif"
    assert "is missing" in finding.problem
    if not setting.startswith("data/"):
        assert "looked at" in finding.problem


def test_data_that_went_elsewhere_is_found_below_the_folder_that_the_settings_name(
    run, setting, tmp_path
):
    moved = tmp_path / "new" / "home"
    moved.parent.mkdir()
    shutil.move((run.root / setting).resolve(), moved)
    if setting.startswith("data/"):
        pytest.skip("a link inside the checkout is the setting: it is made to lead there")

    assert not audit(run, run.root).passed
    assert audit(run, run.root, data=[moved]).passed

    # A file of the same name is none of them; the content itself is asked for.
    (moved / "scenes" / "a.tif").write_bytes(b"another")
    assert blocked(audit(run, run.root, data=[moved])) == {f"{setting}/scenes/a.tif"}


def test_a_checkout_that_is_audited_through_a_link_passes(run, tmp_path):
    (tmp_path / "door").symlink_to(run.root)

    assert audit(run, tmp_path / "door").passed


def test_a_copy_of_checkout_and_data_is_judged_by_its_own_data(tmp_path):
    root = tmp_path / DEEP / "checkout"
    run = Run(root=root, scene_folder="../data/scenes", label_folder="../data/labels").cycle()
    shutil.copytree(tmp_path / DEEP, tmp_path / "copy")
    (tmp_path / "copy" / "data" / "scenes" / "a.tif").write_bytes(b"changed")

    assert audit(run, root).passed
    assert blocked(audit(run, tmp_path / "copy" / "checkout")) == {"../data/scenes/a.tif"}


@pytest.mark.parametrize("name", FILES)
def test_no_copy_elsewhere_excuses_a_changed_source_of_an_earlier_run(run, setting, name):
    content = (run.root / setting / name).read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    cached = run.paths.dvc_cache / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    shutil.rmtree(run.paths.receipt("ingest").parent)
    assert audit(run, run.root).passed

    (run.root / setting / name).write_bytes(b"other")

    # Inside the checkout a later run may have made it anew, and the cache has it.
    excused = setting.startswith("data/") and name in OWN
    assert blocked(audit(run, run.root)) == (set() if excused else {f"{setting}/{name}"})
