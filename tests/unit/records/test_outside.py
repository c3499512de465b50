"""One name for every file from outside the chain, and one way back to it."""

import os
import shutil
from pathlib import Path

import pytest

from tessera_core.config import PlatformConfig
from tessera_core.errors import RecordError
from tessera_core.records.outside import (
    FORMER_PLACES,
    data_folders,
    digest_source,
    find_place,
    is_outside,
    places_below,
    remember_place,
    source_name,
)

DEEP = "a/b/c/d/e/f/checkout"
"""So deep that no way up ends at the root of the file system."""


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / DEEP
    folder.mkdir(parents=True)
    return folder


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bands")
    return path


@pytest.mark.parametrize(
    "setting", ["data/tiles", "../tiles", "../../../tiles", "./data/../data/tiles"]
)
def test_a_name_follows_the_setting_and_leads_back(root, setting):
    path = write(root / setting / "one" / "bands.npy")

    source = digest_source(path, root)

    assert source.path == os.path.normpath(f"{setting}/one/bands.npy")
    assert find_place(source.path, root).read_bytes() == b"bands"
    assert is_outside(source.path) is setting.startswith("..")


def test_a_fixed_place_is_named_as_it_is_set(root, tmp_path):
    path = write(tmp_path / "far" / "bands.npy")

    assert source_name(path, root) == path.as_posix()
    assert find_place(path.as_posix(), root) == path


def test_a_fixed_place_inside_the_checkout_is_named_from_it(root):
    path = write(root / "data" / "bands.npy")

    assert source_name(path.absolute(), root) == "data/bands.npy"
    assert source_name(root / ".." / "checkout" / "data" / "bands.npy", root) == "data/bands.npy"


def test_a_link_inside_the_checkout_is_inside_wherever_it_leads(root, tmp_path):
    write(tmp_path / "far" / "bands.npy")
    (root / "data").symlink_to(tmp_path / "far")

    assert source_name(root / "data" / "bands.npy", root) == "data/bands.npy"


@pytest.mark.parametrize("setting", ["../tiles", "../../tiles", "data/tiles"])
def test_a_checkout_reached_through_a_link_gives_the_same_names(root, tmp_path, setting):
    write(root / setting / "bands.npy")
    (tmp_path / "link").symlink_to(root)
    linked = tmp_path / "link"

    name = source_name(linked / setting / "bands.npy", linked)

    assert name == source_name(root / setting / "bands.npy", root) == f"{setting}/bands.npy"
    assert find_place(name, linked).read_bytes() == b"bands"


def test_the_real_place_of_a_linked_checkout_is_inside_it(root, tmp_path):
    path = write(root / "data" / "bands.npy")
    (tmp_path / "link").symlink_to(root)

    assert source_name(path, tmp_path / "link") == "data/bands.npy"
    assert source_name(tmp_path / "link" / "data" / "bands.npy", root) == "data/bands.npy"


def test_a_way_up_from_behind_a_link_is_the_way_the_system_goes(root, tmp_path):
    write(tmp_path / "mount" / "other" / "bands.npy")
    (tmp_path / "mount" / "here").mkdir()
    (root / "link").symlink_to(tmp_path / "mount" / "here")

    name = source_name(root / "link" / ".." / "other" / "bands.npy", root)

    assert find_place(name, root).read_bytes() == b"bands"


def test_a_root_that_was_given_from_another_folder_gives_the_same_names(root, monkeypatch):
    write(root / "../tiles/bands.npy")
    monkeypatch.chdir(root.parent)

    relative = Path("checkout")

    assert source_name(relative / "../tiles/bands.npy", relative) == "../tiles/bands.npy"


@pytest.mark.parametrize("fixed", [False, True], ids=["relative", "fixed"])
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_what_a_moved_checkout_read_is_found(root, tmp_path, fixed, together):
    tiles = root.parent / "tiles"
    path = write(tiles / "bands.npy")
    source = digest_source(path if fixed else root / "../tiles/bands.npy", root)
    remember_place([source], root)

    moved = tmp_path / "x" / "y" / "checkout"
    moved.parent.mkdir(parents=True)
    shutil.move(root, moved)
    if together:
        shutil.move(tiles, moved.parent / "tiles")

    assert find_place(source.path, moved).read_bytes() == b"bands"
    # It moved once more, and the data stayed.
    remember_place([source], moved)
    shutil.move(moved, tmp_path / "again")
    assert find_place(source.path, tmp_path / "again").read_bytes() == b"bands"


def test_names_hold_nothing_of_a_machine_that_the_settings_do_not_say(root, tmp_path):
    other = tmp_path / "elsewhere" / "checkout"
    for checkout in (root, other):
        write(checkout / "../tiles/bands.npy")

    names = {digest_source(each / "../tiles/bands.npy", each) for each in (root, other)}

    assert len(names) == 1


def test_only_what_lies_outside_is_worth_a_note_and_the_last_place_comes_first(root, tmp_path):
    inside = digest_source(write(root / "data" / "bands.npy"), root)
    remember_place([inside], root)
    assert not (root / FORMER_PLACES).exists()

    outside = digest_source(write(tmp_path / "far" / "bands.npy"), root)
    for _ in range(2):
        remember_place([inside, outside], root)
    assert (root / FORMER_PLACES).read_text() == f"{root}\n"


def test_a_damaged_note_hides_nothing_and_breaks_nothing(root, tmp_path):
    path = write(tmp_path / "far" / "bands.npy")
    (root / "data").mkdir()
    (root / FORMER_PLACES).write_bytes(b"\xff\x00\n/no/such\0place\n/nowhere\n")

    assert find_place(path.as_posix(), root) == path
    assert find_place("../gone.npy", root) == root / "../gone.npy"


def test_the_folders_of_the_settings_are_searched_from_the_longest_end_of_a_name(tmp_path):
    found = list(places_below("../tiles/one/bands.npy", [tmp_path]))

    assert found == [
        tmp_path / "tiles/one/bands.npy", tmp_path / "one/bands.npy", tmp_path / "bands.npy",
    ]  # fmt: skip
    assert not list(places_below("data/scenes/a.tif", [tmp_path]))


@pytest.mark.parametrize(
    "setting",
    [
        "ingest.path", "evaluate.labels", "evaluate.benchmark_data", "evaluate.benchmarks",
        "pretrain.teacher", "pretrain.imported", "pretrain.continue_from",
    ],
)  # fmt: skip
def test_every_setting_that_names_data_is_a_folder_to_search(repo, tmp_path, setting):
    config = PlatformConfig.read(repo / "params.yaml", [f"{setting}=../data"])

    assert tmp_path / "../data" in data_folders(config, tmp_path)


def test_a_missing_source_has_no_digest(root):
    with pytest.raises(RecordError, match=r"cannot read .*gone"):
        digest_source(root / "../gone", root)
