"""Outputs under a second name: the same bytes, and no way for one side to reach the other."""

import errno
from pathlib import Path

import pytest

from tessera_core.errors import RecordError, StorageError
from tessera_core.records.files import FileDigest, digest_file, write_json
from tessera_core.records.manifest import MANIFEST_NAME, write_manifest
from tessera_core.records.sharing import share_outputs


@pytest.fixture
def lender(tmp_path: Path) -> Path:
    """A workspace with a folder of two files and a single file."""
    folder = tmp_path / "lender" / "data" / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights").write_bytes(b"weights")
    (folder / "deep" / "notes").write_bytes(b"notes")
    write_manifest(folder, "model", {})
    write_json(tmp_path / "lender" / "data" / "history.json", [1])
    return tmp_path / "lender"


@pytest.fixture
def outputs(lender: Path) -> tuple[FileDigest, ...]:
    names = (f"data/model/{MANIFEST_NAME}", "data/history.json")
    return tuple(digest_file(lender / name, lender) for name in names)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden leftovers included."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_folders_and_files_arrive_as_links(lender, outputs, tmp_path):
    share_outputs(outputs, lender, tmp_path / "borrower")

    assert contents(tmp_path / "borrower") == contents(lender)
    for name in contents(lender):
        assert (tmp_path / "borrower" / name).samefile(lender / name)


def test_sharing_again_changes_nothing_and_leaves_nothing_behind(lender, outputs, tmp_path):
    share_outputs(outputs, lender, tmp_path / "borrower")

    share_outputs(outputs, lender, tmp_path / "borrower")

    assert contents(tmp_path / "borrower") == contents(lender)


def test_what_the_borrower_had_before_is_replaced(lender, outputs, tmp_path):
    (tmp_path / "borrower" / "data" / "model").mkdir(parents=True)
    (tmp_path / "borrower" / "data" / "model" / "old").write_bytes(b"old")

    share_outputs(outputs, lender, tmp_path / "borrower")

    assert contents(tmp_path / "borrower") == contents(lender)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_links_cannot_be_the_bytes_are_copied(lender, outputs, tmp_path, monkeypatch, code):
    def refuse(self: Path, target: Path) -> None:
        raise OSError(code, "no link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)

    share_outputs(outputs, lender, tmp_path / "borrower")

    assert contents(tmp_path / "borrower") == contents(lender)
    assert not (tmp_path / "borrower" / "data" / "history.json").samefile(
        lender / "data" / "history.json"
    )


def test_a_full_disk_is_an_error_of_storage_not_a_reason_to_copy(
    lender, outputs, tmp_path, monkeypatch
):
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)

    with pytest.raises(StorageError, match="No space left on device"):
        share_outputs(outputs, lender, tmp_path / "borrower")
    assert contents(tmp_path / "borrower") == {}


def test_a_lender_that_lost_a_file_is_named_and_the_borrower_keeps_what_it_had(
    lender, outputs, tmp_path
):
    (tmp_path / "borrower" / "data" / "model").mkdir(parents=True)
    (tmp_path / "borrower" / "data" / "model" / "old").write_bytes(b"old")
    (lender / "data" / "model" / "weights").unlink()

    with pytest.raises(RecordError, match="weights is missing"):
        share_outputs(outputs, lender, tmp_path / "borrower")

    assert contents(tmp_path / "borrower") == {"data/model/old": b"old"}
