"""Files are whole or absent, and known by their content."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tessera_core.errors import RecordError, StorageError
from tessera_core.records.files import (
    atomic_file,
    atomic_folder,
    canonical_json,
    digest_file,
    digest_json,
    digest_tree,
    read_json,
    write_atomically,
    write_json,
)
from tessera_core.testing.disk import run_with_full_disk


def names(folder: Path) -> list[str]:
    """Everything below a folder, hidden leftovers included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


class InterruptedWriteError(Exception):
    """Something went wrong in the middle."""


def write_half(path: Path) -> None:
    path.write_text("half")
    raise InterruptedWriteError


def test_a_digest_names_content_size_and_place(tmp_path):
    content = b"x" * 3_000_000
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file.bin").write_bytes(content)

    digest = digest_file(tmp_path / "deep" / "file.bin", tmp_path)

    assert digest.to_dict() == {
        "path": "deep/file.bin",
        "sha256": hashlib.sha256(content).hexdigest(),
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "size": 3_000_000,
    }


def test_a_file_outside_the_folder_is_no_output_and_has_no_name_there(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "scene.tif").write_bytes(b"")

    with pytest.raises(ValueError, match="is not in the subpath"):
        digest_file(tmp_path / "scene.tif", tmp_path / "root")


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_cannot_be_read_has_no_digest(tmp_path, name):
    with pytest.raises(RecordError, match=r"cannot read .*: (No such file|Is a directory)"):
        digest_file(tmp_path / name, tmp_path)


def test_a_tree_is_digested_in_path_order_whatever_was_written_first(tmp_path):
    for folder, order in (("one", "bca"), ("two", "abc")):
        for name in order:
            write_atomically(tmp_path / folder / name / "file", name.encode())

    one, two = (digest_tree(tmp_path / name, tmp_path / name) for name in ("one", "two"))

    assert [digest.path for digest in one] == ["a/file", "b/file", "c/file"]
    assert one == two


def test_equal_values_have_equal_bytes():
    assert canonical_json({"b": [1.5, None], "a": "x"}) == b'{"a":"x","b":[1.5,null]}'
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_holds_no_nan_and_no_infinity(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"value": value})
    assert names(tmp_path) == []


def test_json_is_written_with_its_folders_and_read_back(tmp_path):
    write_json(tmp_path / "a" / "b" / "x.json", {"b": 1, "a": [2]})

    assert read_json(tmp_path / "a" / "b" / "x.json") == {"b": 1, "a": [2]}
    assert (tmp_path / "a" / "b" / "x.json").read_text().startswith('{\n "a"')
    assert names(tmp_path) == ["a", "a/b", "a/b/x.json"]


def test_json_that_is_absent_or_broken_is_refused_with_its_place(tmp_path):
    (tmp_path / "broken.json").write_text('{"a": ')

    with pytest.raises(RecordError, match=r"cannot read .*absent\.json: No such file"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(RecordError, match=r"broken\.json is not JSON: .* line 1 column 7"):
        read_json(tmp_path / "broken.json")


def test_a_file_keeps_its_old_content_when_writing_fails(tmp_path):
    write_atomically(tmp_path / "x", b"old")

    with pytest.raises(InterruptedWriteError), atomic_file(tmp_path / "x") as temporary:
        write_half(temporary)

    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "deep" / "samples"
    for name in ("old", "new"):
        with atomic_folder(target) as building:
            (building / name).write_text(name)
            assert not (target / name).exists()

    assert names(tmp_path) == ["deep", "deep/samples", "deep/samples/new"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "samples") as building:
        (building / "old").write_text("old")

    with pytest.raises(InterruptedWriteError), atomic_folder(tmp_path / "samples") as building:
        write_half(building / "new")

    assert names(tmp_path) == ["samples", "samples/old"]


def test_an_error_in_the_first_run_leaves_nothing(tmp_path):
    with pytest.raises(InterruptedWriteError), atomic_folder(tmp_path / "samples") as building:
        write_half(building / "new")

    assert names(tmp_path) == []


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path):
    with atomic_folder(tmp_path / "samples") as building:
        (building / "old").write_text("old")

    with (
        pytest.raises(StorageError, match="cannot write"),
        atomic_folder(tmp_path / "samples") as building,
    ):
        building.rmdir()  # so that the last step, the renaming, fails

    assert names(tmp_path) == ["samples", "samples/old"]


def test_two_writers_of_one_folder_do_not_mix(tmp_path):
    with atomic_folder(tmp_path / "samples") as first:
        with atomic_folder(tmp_path / "samples") as second:
            (second / "second").write_text("")
        (first / "first").write_text("")

    assert names(tmp_path) == ["samples", "samples/first"]


def test_a_place_that_cannot_hold_files_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / "x.json"

    with pytest.raises(StorageError, match=r"cannot write .*x\.json: .*another workspace"):
        write_json(place, {})
    with pytest.raises(StorageError, match=r"cannot write .*x\.json: "), atomic_folder(place):
        pass
    assert StorageError.exit_code == 2


def test_an_error_about_a_record_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(RecordError, match="cannot read"), atomic_folder(tmp_path / "samples"):
        digest_file(tmp_path / "absent", tmp_path)


WRITE_JSON = """
import json
from pathlib import Path
from tessera_core.errors import TesseraError
from tessera_core.records.files import write_json
try:
    write_json(Path(sys.argv[1]), ["x" * 5000])
except TesseraError as error:
    print(json.dumps([type(error).__name__, error.exit_code, str(error)]))
"""


def test_a_full_disk_leaves_the_old_file_and_says_how_much_room_there_is(tmp_path):
    write_json(tmp_path / "x.json", "old")

    run = run_with_full_disk(WRITE_JSON, str(tmp_path / "x.json"), max_file_size=4096)

    kind, exit_code, message = json.loads(run.stdout)
    assert (kind, exit_code) == ("StorageError", 2), run.stderr
    assert f"cannot write {tmp_path / 'x.json'}: File too large" in message
    assert "MB free there). Nothing was left half-written" in message
    assert read_json(tmp_path / "x.json") == "old"
    assert names(tmp_path) == ["x.json"]


def test_json_that_is_nested_too_deep_is_refused_like_other_faults(tmp_path):
    path = tmp_path / "deep.json"
    path.write_bytes(b"[" * 100_000)

    with pytest.raises(RecordError, match="nested too deep"):
        read_json(path)


@pytest.mark.parametrize("read", [read_json, lambda path: digest_file(path, path.parent)])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    path = tmp_path / "pipe.json"
    os.mkfifo(path)

    with pytest.raises(RecordError, match="no regular file"):
        read(path)
