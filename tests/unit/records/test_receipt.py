"""Receipts: every field counts, equal runs give equal bytes, and none is ever lost."""

import json
from dataclasses import fields, replace

import pytest

from tessera_core.errors import RecordError
from tessera_core.records.code import CodeVersion
from tessera_core.records.files import FileDigest
from tessera_core.records.receipt import Receipt, write_receipt

FILE = FileDigest(path="data/scenes/a.tif", sha256="0" * 64, md5="1" * 32, size=3)
CODE = CodeVersion(commit="c" * 40, dirty=False, closure="d" * 64)
RECEIPT = Receipt(
    stage="shuffle",
    config={"shuffle": {"seed": 1, "val_share": 0.1}},
    sources=(FILE,),
    upstream={"ingest": "a" * 64, "quality": "b" * 64},
    outputs=(replace(FILE, path="data/shards/manifest.json"),),
    code=CODE,
    environment="e" * 64,
    facts={"num_pixels": 7},
)
DIGEST = "74a5f18cf1e4122a3b7e6023e51338b928017ea3705dab5b72b5d83c09f306e8"
"""Of ``RECEIPT``. Another value means that no stored receipt is found under its name any more."""

CHANGES = {
    "stage": "ingest",
    "config": {"shuffle": {"seed": 2, "val_share": 0.1}},
    "sources": (replace(FILE, sha256="2" * 64),),
    "upstream": {"ingest": "a" * 64, "quality": "c" * 64},
    "outputs": (),
    "code": replace(CODE, closure="e" * 64),
    "environment": "f" * 64,
    "facts": {"num_pixels": 8},
}
"""Another value for every field."""


@pytest.mark.parametrize("field", [field.name for field in fields(Receipt)])
def test_every_field_is_part_of_the_identity(field):
    assert replace(RECEIPT, **{field: CHANGES[field]}).digest != RECEIPT.digest


@pytest.mark.parametrize("change", [{"commit": "0" * 40}, {"dirty": True}])
def test_commit_and_dirty_flag_are_part_of_the_identity(change):
    assert replace(RECEIPT, code=replace(CODE, **change)).digest != RECEIPT.digest


@pytest.mark.parametrize(
    "change", [{"path": "data/scenes/b.tif"}, {"md5": "2" * 32}, {"size": 4}, {"sha256": "3" * 64}]
)
def test_all_that_is_known_of_a_file_is_part_of_the_identity(change):
    assert replace(RECEIPT, sources=(replace(FILE, **change),)).digest != RECEIPT.digest


def test_the_bytes_are_those_that_were_always_written():
    assert RECEIPT.digest == DIGEST


def test_the_order_of_settings_does_not_matter():
    turned = replace(RECEIPT, config={"shuffle": {"val_share": 0.1, "seed": 1}})

    assert turned.to_bytes() == RECEIPT.to_bytes()


def test_a_receipt_says_nothing_about_time_or_machine():
    assert set(json.loads(RECEIPT.to_bytes())) == {
        "version", "stage", "config", "sources", "upstream", "outputs", "code", "environment",
        "facts",
    }  # fmt: skip


@pytest.mark.parametrize("field", ["stage", "config", "sources", "upstream"])
def test_what_goes_in_decides_whether_a_stage_runs_again(field):
    assert replace(RECEIPT, **{field: CHANGES[field]}).reuse_key != RECEIPT.reuse_key


def test_changed_code_of_the_stage_runs_it_again():
    changed = replace(RECEIPT, code=replace(CODE, closure="0" * 64))

    assert changed.reuse_key != RECEIPT.reuse_key


def test_another_commit_or_environment_does_not_run_it_again():
    moved = replace(
        RECEIPT,
        code=replace(CODE, commit="0" * 40, dirty=True),
        environment=CHANGES["environment"],
        outputs=(),
        facts={},
    )

    assert moved.reuse_key == RECEIPT.reuse_key


def test_a_receipt_is_read_back_as_it_was(tmp_path):
    write_receipt(RECEIPT, tmp_path / "receipts" / "shuffle.json", tmp_path / "lineage")

    assert Receipt.read(tmp_path / "receipts" / "shuffle.json") == RECEIPT
    assert Receipt.read(tmp_path / "lineage" / f"{RECEIPT.digest}.json") == RECEIPT


def test_the_lineage_keeps_every_receipt_under_its_digest(tmp_path):
    later = replace(RECEIPT, facts={"num_pixels": 8})
    for receipt in (RECEIPT, later, RECEIPT):
        write_receipt(receipt, tmp_path / "shuffle.json", tmp_path / "lineage")

    assert {path.stem for path in (tmp_path / "lineage").iterdir()} == {
        RECEIPT.digest,
        later.digest,
    }
    assert Receipt.read(tmp_path / "shuffle.json") == RECEIPT


def test_an_archived_receipt_is_never_written_over(tmp_path):
    archived = tmp_path / "lineage" / f"{RECEIPT.digest}.json"
    archived.parent.mkdir()
    archived.write_text("as it was")

    write_receipt(RECEIPT, tmp_path / "shuffle.json", tmp_path / "lineage")

    assert archived.read_text() == "as it was"


def stored(**changes) -> str:
    return json.dumps({**json.loads(RECEIPT.to_bytes()), **changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (stored(version=99), "is a receipt of version 99, expected 1; rerun the stage"),
        ("{}", "is not a receipt: 'version'"),
        ("[]", "is not a receipt"),
        (stored(sources=[{"path": "x"}]), "is not a receipt"),
        (stored(code={"commit": "x"}), "is not a receipt"),
        (stored(code=None), "is not a receipt"),
        ("{", "is not JSON"),
    ],
)
def test_a_broken_receipt_is_refused_with_its_place(tmp_path, content, message):
    (tmp_path / "shuffle.json").write_text(content)

    with pytest.raises(RecordError, match=rf"shuffle\.json {message}"):
        Receipt.read(tmp_path / "shuffle.json")


def test_an_absent_receipt_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read .*: No such file"):
        Receipt.read(tmp_path / "shuffle.json")
