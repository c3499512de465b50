"""A signed folder verifies; whatever is changed in it afterwards is named."""

import json

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera_core.errors import GateError, RecordError
from tessera_core.lineage.attest.attested import find_attested
from tessera_core.lineage.attest.folder import (
    BUNDLE_NAME,
    REFERENCES_NAME,
    verify_attestations,
    write_attestations,
)
from tessera_core.records.files import canonical_json, digest_file, read_json, write_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences, write_manifest
from tests.unit.lineage.attest.built import EXPORT, TIMES, VERSIONS

ALL = {
    "provenance-training.intoto.json", "provenance-export.intoto.json", REFERENCES_NAME,
    BUNDLE_NAME, "model-card.md", "datasheet.md", "ml-bom.cdx.json", "croissant.json",
    "openlineage.jsonl", "ro-crate.zip", MANIFEST_NAME,
}  # fmt: skip


def reseal(folder):
    """Write the manifest anew, as somebody would who covers up a change."""
    write_manifest(folder, "attestations", Manifest.read(folder).facts)


def test_a_signed_folder_holds_every_document_and_verifies(signed, key):
    assert {file.name for file in signed.iterdir()} == ALL
    assert find_differences(signed, Manifest.read(signed)) == []
    assert "3 statements signed" in verify_attestations(signed, key.public_key())[0]


def test_the_same_lineage_and_key_give_the_same_bytes(world, subject, signed, key):
    before = {file.name: file.read_bytes() for file in signed.iterdir()}

    again = write_attestations(subject, world.paths, TIMES, VERSIONS, key)

    assert again == signed
    assert {file.name: file.read_bytes() for file in again.iterdir()} == before


def test_another_key_writes_another_folder_and_overwrites_none(world, subject, signed):
    other = write_attestations(subject, world.paths, TIMES, VERSIONS, Ed25519PrivateKey.generate())
    unsigned = write_attestations(subject, world.paths, TIMES, VERSIONS)

    assert len({signed, other, unsigned}) == 3
    assert signed.is_dir()


def test_another_key_is_not_taken_for_the_signer(signed):
    with pytest.raises(GateError, match=r"not by this key"):
        verify_attestations(signed, Ed25519PrivateKey.generate().public_key())


def test_an_unsigned_folder_proves_nothing(world, subject, key):
    folder = write_attestations(subject, world.paths, TIMES, VERSIONS)

    assert Manifest.read(folder).facts["signed_by"] is None
    with pytest.raises(GateError, match=rf"{BUNDLE_NAME}: missing, so nothing is signed"):
        verify_attestations(folder, key.public_key())


@pytest.mark.parametrize("name", sorted(ALL - {BUNDLE_NAME, MANIFEST_NAME}))
def test_a_changed_document_is_named_though_the_manifest_was_made_to_fit(signed, key, name):
    content = (signed / name).read_bytes()
    (signed / name).write_bytes(content.replace(b"e", b"a", 1))
    with pytest.raises(GateError, match=f"{name}: content differs from its manifest"):
        verify_attestations(signed, key.public_key())

    reseal(signed)

    with pytest.raises(GateError, match=f"{name}: is not the (document|statement) that was signed"):
        verify_attestations(signed, key.public_key())


@pytest.mark.parametrize("name", sorted(ALL - {BUNDLE_NAME, MANIFEST_NAME}))
def test_a_document_that_was_taken_away_is_missed(signed, key, name):
    (signed / name).unlink()
    lines = (signed / BUNDLE_NAME).read_bytes().splitlines()
    statements = sorted(each for each in ALL if each.endswith(".intoto.json"))
    if name in statements:  # with its envelope, as somebody would who covers it up
        del lines[statements.index(name)]
    (signed / BUNDLE_NAME).write_bytes(b"\n".join(lines))
    reseal(signed)

    with pytest.raises(GateError, match=f"{name}: (signed, but )?missing"):
        verify_attestations(signed, key.public_key())


def test_a_document_that_was_added_is_named(signed, key):
    (signed / "licence.md").write_text("free for all", encoding="utf-8")
    reseal(signed)

    with pytest.raises(GateError, match=r"licence\.md: no signature covers it"):
        verify_attestations(signed, key.public_key())


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_forged_signature_is_named_with_its_statement(signed, key, line):
    lines = (signed / BUNDLE_NAME).read_bytes().splitlines()
    envelope = json.loads(lines[line])
    signature = envelope["signatures"][0]["sig"]
    envelope["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]
    lines[line] = canonical_json(envelope)
    (signed / BUNDLE_NAME).write_bytes(b"\n".join(lines))
    reseal(signed)

    name = sorted(each for each in ALL if each.endswith(".intoto.json"))[line]
    with pytest.raises(GateError, match=f"the envelope of {name} has a signature that does not"):
        verify_attestations(signed, key.public_key())


def test_lines_that_are_no_envelopes_and_too_few_lines_are_named(signed, key):
    lines = (signed / BUNDLE_NAME).read_bytes().splitlines()
    (signed / BUNDLE_NAME).write_bytes(b"\n".join([b"{", *lines[1:]]))
    with pytest.raises(GateError, match="is no DSSE envelope"):
        verify_attestations(signed, key.public_key())

    (signed / BUNDLE_NAME).write_bytes(lines[0])
    with pytest.raises(GateError, match="1 envelopes for 3 statements"):
        verify_attestations(signed, key.public_key())


def test_what_the_manifest_says_of_the_subject_is_signed_too(signed, key):
    stored = read_json(signed / MANIFEST_NAME)
    stored["facts"]["version"] = "9"
    write_json(signed / MANIFEST_NAME, stored)

    with pytest.raises(GateError, match=r"manifest\.json: is not the manifest of what was signed"):
        verify_attestations(signed, key.public_key())


def test_a_change_to_any_byte_of_any_file_is_found_and_the_file_named(signed, key):
    random = np.random.default_rng(7)
    files = sorted(signed.iterdir())
    for _ in range(120):
        path = files[random.integers(len(files))]
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[random.integers(len(whole))] ^= random.integers(1, 256)
        path.write_bytes(bytes(changed))
        # A manifest that can no longer be read is bad input; anything else is the gate's no.
        with pytest.raises((GateError, RecordError), match=path.name):
            verify_attestations(signed, key.public_key())
        path.write_bytes(whole)
    assert verify_attestations(signed, key.public_key())


def test_the_artifact_is_compared_with_what_was_signed(world, signed, key):
    public = key.public_key()
    export, model = world.paths.exports / EXPORT, world.paths.champion

    assert "3 files of" in verify_attestations(signed, public, export)[1]
    assert "3 files of" in verify_attestations(signed, public, model)[1]
    (export / "npy" / "a" / "a.npy").write_bytes(b"another map")
    (export / "more.npy").write_bytes(b"more")
    (model / "config.json").unlink()
    with pytest.raises(GateError, match=r"(?s)a\.npy: is not the file|more\.npy: no signature"):
        verify_attestations(signed, public, export)
    with pytest.raises(GateError, match=r"config\.json: signed, but missing"):
        verify_attestations(signed, public, model)


def test_another_version_is_not_the_artifact(world, signed, key):
    with pytest.raises(GateError, match=r"encoder\.safetensors: is not the file that was signed"):
        verify_attestations(signed, key.public_key(), world.paths.model)


def test_a_folder_of_another_kind_is_refused(world, key):
    with pytest.raises(RecordError, match="holds model, expected attestations"):
        verify_attestations(world.paths.model, key.public_key())


def test_without_the_time_of_a_commit_what_needs_one_is_left_out(world, subject, key):
    folder = write_attestations(subject, world.paths, {}, VERSIONS, key)

    facts = Manifest.read(folder).facts
    assert facts["left_out"] == ["openlineage.jsonl", "ro-crate.zip"]
    assert not {file.name for file in folder.iterdir()} & set(facts["left_out"])
    assert "datePublished" not in read_json(folder / "croissant.json")
    assert verify_attestations(folder, key.public_key())


def test_the_current_workspace_decides_nothing_about_a_version(world, key):
    before = write_attestations(find_attested("1", world.paths), world.paths, TIMES, VERSIONS, key)
    names = {file.name: digest_file(file, before).sha256 for file in before.iterdir()}
    world.version("3")

    after = write_attestations(find_attested("1", world.paths), world.paths, TIMES, VERSIONS, key)

    assert {file.name: digest_file(file, after).sha256 for file in after.iterdir()} == names
