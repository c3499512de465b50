"""The feed: shards decoded once, then read from memory-mapped arrays."""

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from mmap import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera_core.config import PlatformConfig
from tessera_core.errors import RecordError, StorageError
from tessera_core.feed.reader import open_feed, read_norms
from tessera_core.ports import OFFLINE
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.records.paths import Paths
from tessera_core.records.samples import pixels_of, read_table
from tessera_core.records.schema import SHARD
from tessera_core.shuffle.assignment import SPLITS
from tessera_core.shuffle.stage import run
from tessera_core.testing.observations import pixels_as_lists
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile


@pytest.fixture(scope="module")
def pristine(repo, tmp_path_factory) -> Path:
    """Shards of one tile of 80 d-pixels; not to be changed."""
    root = tmp_path_factory.mktemp("shards")
    paths = Paths(root=root, workspace=root)
    tile = make_tile(grid=make_grid(width=10, height=8), num_descending=0)
    write_samples(paths.samples, [tile])
    settings = ["shuffle.block_size_m=20", "shuffle.rows_per_shard=15"]
    run(PlatformConfig.read(repo / "params.yaml", settings), paths, OFFLINE)
    return paths.shards


@pytest.fixture
def shards(pristine, tmp_path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(pristine, tmp_path / "shards"))


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def stored(shards: Path, split: str) -> pa.Table:
    paths = sorted(shards.glob(f"{split}-*.parquet"))
    return pa.concat_tables([read_table(p, SHARD).replace_schema_metadata(None) for p in paths])


@pytest.mark.parametrize("split", SPLITS)
def test_a_feed_holds_the_rows_of_its_split_in_shard_order(shards, cache, split):
    feed = open_feed(shards, split, cache)

    table = stored(shards, split)
    assert pixels_as_lists(feed.pixels) == pixels_as_lists(pixels_of(table))
    for name in ("epsg", "x", "y"):
        assert getattr(feed, name).tolist() == table[name].to_pylist()


@pytest.mark.parametrize("split", SPLITS)
def test_decoding_shard_by_shard_gives_the_bytes_of_decoding_the_split_at_once(
    shards, cache, split
):
    open_feed(shards, split, cache)

    table = stored(shards, split)
    pixels = pixels_of(table)
    expected = {name: table[name].to_numpy() for name in ("epsg", "x", "y")}
    for sensor in ("optical", "ascending", "descending"):
        for part in ("values", "day_of_year", "offsets", "valid"):
            expected[f"{sensor}.{part}"] = getattr(getattr(pixels, sensor), part)
    (folder,) = cache.glob(f"*/{split}")
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.npy" for name in expected), "tile.npy", "tiles.json",
    }  # fmt: skip
    for name, array in expected.items():
        whole = io.BytesIO()
        np.save(whole, array)
        assert (folder / f"{name}.npy").read_bytes() == whole.getvalue(), name


def test_a_feed_says_which_tile_and_year_each_dpixel_is_from(repo, cache, tmp_path):
    paths = Paths(root=tmp_path, workspace=tmp_path)
    years = [("west", 2022), ("east", 2023), ("west", 2021)]
    write_samples(
        paths.samples,
        [
            make_tile(name=name, year=year, grid=make_grid(west=500_000 + 100 * i, width=4), seed=i)
            for i, (name, year) in enumerate(years)
        ],
    )
    settings = ["shuffle.block_size_m=20", "shuffle.rows_per_shard=7"]
    run(PlatformConfig.read(repo / "params.yaml", settings), paths, OFFLINE)

    feed = open_feed(paths.shards, "train", cache)

    table = stored(paths.shards, "train")
    names = zip(table["tile"].to_pylist(), table["year"].to_pylist(), strict=True)
    assert feed.tiles == ("east-2023", "west-2021", "west-2022")
    assert [feed.tiles[code] for code in feed.tile] == [f"{name}-{year}" for name, year in names]


@pytest.mark.parametrize(("resident_bytes", "is_resident"), [(1 << 30, True), (1000, False)])
def test_a_batch_holds_its_rows_whether_or_not_the_feed_may_stay_in_memory(
    shards, cache, resident_bytes, is_resident
):
    feed = open_feed(shards, "train", cache, resident_bytes=resident_bytes)
    rows = np.array([3, 0, 3, len(feed.pixels) - 1])

    batch = feed.gather(rows)

    assert feed.is_resident is is_resident
    index, exists, valid = feed.pixels.optical.padded(rows)
    longest = exists.shape[1]
    assert np.array_equal(batch.optical.valid[:, :longest], valid)
    assert np.array_equal(
        batch.optical.values[:, :longest][exists], feed.pixels.optical.values[index[exists]]
    )


def test_a_file_that_shrinks_under_an_open_feed_is_named(shards, cache):
    feed = open_feed(shards, "train", cache, resident_bytes=0)
    (victim,) = cache.glob("*/train/ascending.values.npy")
    victim.write_bytes(victim.read_bytes()[:-8])

    with pytest.raises(RecordError, match=rf"{victim} could be read for 0 of 1 d-pixels only"):
        feed.gather(np.array([len(feed.pixels) - 1]))


def test_a_feed_is_memory_mapped_and_cannot_be_written_to(shards, cache):
    feed = open_feed(shards, "train", cache)

    assert isinstance(feed.pixels.optical.values.base, mmap)
    with pytest.raises(ValueError, match="read-only"):
        feed.pixels.optical.values[0, 0] = 1


def test_a_second_opening_decodes_nothing(shards, cache):
    first = open_feed(shards, "train", cache)
    for path in shards.glob("*.parquet"):
        path.unlink()

    second = open_feed(shards, "train", cache)

    assert pixels_as_lists(second.pixels) == pixels_as_lists(first.pixels)


def test_other_shards_are_another_feed(shards, cache):
    before = open_feed(shards, "val", cache)
    first = Manifest.read(shards).digest
    # As another shuffle would: the test split takes the place of val.
    for path in [*shards.glob("val-*.parquet")]:
        path.unlink()
    for path in shards.glob("test-*.parquet"):
        path.rename(path.with_name(path.name.replace("test-", "val-")))
    write_manifest(shards, "shards", Manifest.read(shards).facts)

    after = open_feed(shards, "val", cache)

    assert Manifest.read(shards).digest != first
    assert len(list(cache.iterdir())) == 2
    assert pixels_as_lists(after.pixels) != pixels_as_lists(before.pixels)


def test_a_copy_of_the_shards_shares_the_cache(shards, cache, tmp_path):
    open_feed(shards, "train", cache)
    shutil.copytree(shards, tmp_path / "copy")

    open_feed(tmp_path / "copy", "train", cache)

    assert len(list(cache.iterdir())) == 1


def test_the_cache_may_be_deleted(shards, cache):
    first = pixels_as_lists(open_feed(shards, "train", cache).pixels)
    shutil.rmtree(cache)

    assert pixels_as_lists(open_feed(shards, "train", cache).pixels) == first


def test_norms_are_read_back_from_beside_the_shards(shards):
    norms = read_norms(shards)

    assert norms.s1_descending == norms.s1_ascending  # no descending orbit: the other one's
    assert len(norms.s2.mean) == 10


def test_a_split_that_was_not_written_is_refused(shards, cache):
    with pytest.raises(RecordError, match=r"has no shard of split 'holdout'; shuffle again"):
        open_feed(shards, "holdout", cache)


def test_a_folder_without_manifest_is_refused(shards, cache):
    (shards / "manifest.json").unlink()

    with pytest.raises(RecordError, match=r"cannot read .*manifest\.json"):
        open_feed(shards, "train", cache)


def test_a_broken_shard_is_named_and_nothing_is_cached(shards, cache):
    path = sorted(shards.glob("train-*.parquet"))[-1]
    path.write_bytes(path.read_bytes()[:-50])

    with pytest.raises(RecordError, match=rf"cannot read {path}"):
        open_feed(shards, "train", cache)

    assert [path.name for path in cache.rglob("*") if path.is_file()] == [".train.lock"]


def test_damage_that_shows_while_decoding_is_named_and_leaves_no_split(shards, cache):
    path = sorted(shards.glob("train-*.parquet"))[-1]
    octets = bytearray(path.read_bytes())
    middle = pq.ParquetFile(path).metadata.row_group(0).column(9).data_page_offset
    octets[middle : middle + 40] = bytes(40)
    path.write_bytes(octets)

    with pytest.raises(RecordError, match=rf"cannot read {path}"):
        open_feed(shards, "train", cache)

    assert [path.name for path in cache.glob("*/*")] == [".train.lock"]


def test_a_cache_of_an_earlier_version_is_decoded_anew(shards, cache):
    before = pixels_as_lists(open_feed(shards, "train", cache).pixels)
    (folder,) = cache.glob("*/train")
    (folder / "tile.npy").unlink()
    (folder / "tiles.json").unlink()
    (folder / "x.npy").write_bytes(b"of an earlier version")

    feed = open_feed(shards, "train", cache)

    assert pixels_as_lists(feed.pixels) == before
    assert feed.tiles == ("tile-2022",)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def one_row_fewer(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def other_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float32))


def nonsense(path: Path) -> None:
    path.write_bytes(b"nonsense")


@pytest.mark.parametrize(
    ("name", "damage", "complaint"),
    [
        ("optical.values.npy", Path.unlink, "cannot read {}: No such file"),
        ("optical.values.npy", cut_off, r"{} has \d+ bytes, expected \d+ for uint16"),
        ("ascending.valid.npy", one_row_fewer, r"{} holds bool \(\d+,\), expected bool"),
        ("descending.offsets.npy", one_row_fewer, r"{} holds int64 \(\d+,\), expected int64"),
        ("x.npy", one_row_fewer, r"{} holds float64 \(\d+,\), expected float64"),
        ("optical.day_of_year.npy", other_type, r"{} holds float32 \(\d+,\), expected uint16"),
        ("y.npy", nonsense, "{} is not an NPY file: "),
        ("tiles.json", nonsense, "{} is not JSON"),
        ("tiles.json", lambda path: path.write_text("[]"), "{} names 0 tiles, but tile.npy"),
        ("tiles.json", lambda path: path.write_text("2"), "{} is not a list of tiles"),
    ],
)
def test_a_damaged_cache_is_refused_with_the_file_and_what_to_do(
    shards, cache, name, damage, complaint
):
    open_feed(shards, "train", cache)
    (folder,) = cache.glob("*/train")
    damage(folder / name)

    with pytest.raises(RecordError, match=complaint.format(folder / name)) as refused:
        open_feed(shards, "train", cache)

    assert f"delete {folder} and run again" in str(refused.value)


def test_offsets_that_fall_are_refused(shards, cache):
    open_feed(shards, "train", cache)
    (path,) = cache.glob("*/train/optical.offsets.npy")
    offsets = np.load(path)
    offsets[2] = 0
    np.save(path, offsets)

    with pytest.raises(RecordError, match=r"optical\..*\.npy: offsets must run from 0 to"):
        open_feed(shards, "train", cache)


def test_a_shard_of_other_columns_is_refused(shards, cache, pristine):
    samples = next((pristine.parent / "samples").glob("*/*/samples.parquet"))
    shutil.copy(samples, sorted(shards.glob("train-*.parquet"))[0])

    with pytest.raises(RecordError, match=r"has columns \['row', .* expected \['tile', "):
        open_feed(shards, "train", cache)


def test_a_cache_that_cannot_be_written_is_named(shards, cache):
    cache.write_text("a file in the way")

    with pytest.raises(StorageError, match=rf"cannot write {cache}/.*another workspace"):
        open_feed(shards, "train", cache)


def test_a_split_that_several_decode_at_a_time_is_whole_for_all_of_them(shards, cache):
    with ThreadPoolExecutor(4) as pool:
        feeds = list(pool.map(lambda _: open_feed(shards, "train", cache), range(8)))

    expected = pixels_as_lists(pixels_of(stored(shards, "train")))
    assert all(pixels_as_lists(feed.pixels) == expected for feed in feeds)
    assert {path.name for path in cache.glob("*/*")} == {"train", ".train.lock"}
