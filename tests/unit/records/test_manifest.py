"""Manifests: every file of a folder, by content, and none outside it."""

import json
from dataclasses import replace

import pytest

from tessera_core.errors import RecordError
from tessera_core.records.files import FileDigest
from tessera_core.records.manifest import (
    MANIFEST_NAME,
    Manifest,
    find_differences,
    write_manifest,
)

ENTRY = FileDigest(path="a.bin", sha256="0" * 64, md5="1" * 32, size=3)


@pytest.fixture
def artifact(tmp_path):
    """A folder of two files and its manifest."""
    folder = tmp_path / "artifact"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"aaa")
    (folder / "deep" / "b.bin").write_bytes(b"bbb")
    write_manifest(folder, "model", {"version": 1})
    return folder


def test_a_manifest_lists_every_file_but_itself(artifact):
    manifest = Manifest.read(artifact)

    assert [file.path for file in manifest.files] == ["a.bin", "deep/b.bin"]
    assert (manifest.kind, dict(manifest.facts)) == ("model", {"version": 1})


def test_writing_it_again_changes_nothing(artifact):
    before = (artifact / MANIFEST_NAME).read_bytes()

    write_manifest(artifact, "model", {"version": 1})

    assert (artifact / MANIFEST_NAME).read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "samples"},
        {"facts": {"version": 2}},
        {"files": ()},
        {"files": (replace(ENTRY, sha256="2" * 64),)},
        {"files": (replace(ENTRY, path="b.bin"),)},
    ],
)
def test_kind_files_and_facts_decide_the_digest(change):
    manifest = Manifest(kind="model", files=(ENTRY,), facts={"version": 1})

    assert replace(manifest, **change).digest != manifest.digest


def test_the_order_of_facts_does_not_matter():
    first = Manifest(kind="model", files=(), facts={"a": 1, "b": 2})
    second = Manifest(kind="model", files=(), facts={"b": 2, "a": 1})

    assert first.digest == second.digest


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "deep/.."])
def test_an_entry_outside_the_folder_is_refused(artifact, path):
    stored = json.loads((artifact / MANIFEST_NAME).read_text())
    stored["files"][0]["path"] = path
    (artifact / MANIFEST_NAME).write_text(json.dumps(stored))

    with pytest.raises(RecordError, match=r"manifest entry '.*' points outside its folder"):
        Manifest.read(artifact)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is not a manifest"),
        ('{"kind": "model"}', "is not a manifest: 'files'"),
        ('{"kind": "model", "files": [{"path": "a"}], "facts": {}}', "is not a manifest"),
        (
            '{"kind": "", "files": [{"path": 3, "sha256": "", "md5": "", "size": 0}], "facts": {}}',
            "is not a manifest",
        ),
        ("{", "is not JSON"),
    ],
)
def test_a_broken_manifest_is_refused_with_its_place(artifact, content, message):
    (artifact / MANIFEST_NAME).write_text(content)

    with pytest.raises(RecordError, match=rf"{MANIFEST_NAME} .*{message}"):
        Manifest.read(artifact)


def test_a_folder_without_manifest_is_unfinished(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read .*manifest\.json: No such file"):
        Manifest.read(tmp_path)


def test_an_intact_folder_has_no_differences(artifact):
    assert find_differences(artifact, Manifest.read(artifact)) == []


def test_every_difference_is_one_line(artifact):
    manifest = Manifest.read(artifact)
    (artifact / "a.bin").unlink()
    (artifact / "deep" / "b.bin").write_bytes(b"bbc")
    (artifact / "deep" / "new.bin").write_bytes(b"")

    findings = find_differences(artifact, manifest)

    assert findings == [
        f"{artifact / 'a.bin'}: missing",
        f"{artifact / 'deep' / 'b.bin'}: content differs from its manifest",
        f"{artifact / 'deep' / 'new.bin'}: not in the manifest",
    ]
