"""The feed: shards decoded once, then read from memory-mapped arrays."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tessera_core.config import PlatformConfig
from tessera_core.errors import RecordError, StorageError
from tessera_core.ports import OFFLINE
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.records.paths import Paths
from tessera_core.records.samples import pixels_of, read_table
from tessera_core.records.schema import SHARD
from tessera_core.shuffle.plan import SPLITS
from tessera_core.shuffle.reader import open_feed, read_norms
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


def test_a_feed_is_memory_mapped_and_cannot_be_written_to(shards, cache):
    feed = open_feed(shards, "train", cache)

    assert isinstance(feed.pixels.optical.values, np.memmap)
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

    assert not cache.exists()


def test_a_shard_of_other_columns_is_refused(shards, cache, pristine):
    samples = next((pristine.parent / "samples").glob("*/*/samples.parquet"))
    shutil.copy(samples, sorted(shards.glob("train-*.parquet"))[0])

    with pytest.raises(RecordError, match=r"has columns \['row', .* expected \['tile', "):
        open_feed(shards, "train", cache)


def test_a_cache_that_cannot_be_written_is_named(shards, cache):
    cache.write_text("a file in the way")

    with pytest.raises(StorageError, match=rf"cannot write {cache}/.*another workspace"):
        open_feed(shards, "train", cache)
