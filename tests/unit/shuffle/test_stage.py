"""The shuffle stage: every usable d-pixel once, blocks whole, norms from the train split."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.config import PlatformConfig
from tessera_core.domain.dpixel import concatenate
from tessera_core.domain.scl import SceneClass
from tessera_core.domain.tile import TileSeries
from tessera_core.errors import InputError, RecordError
from tessera_core.feed.reader import read_norms
from tessera_core.ports import OFFLINE
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.records.paths import Paths
from tessera_core.records.samples import list_tiles, pixels_of, read_table, read_tile
from tessera_core.records.schema import SHARD
from tessera_core.shuffle.assignment import SPLITS
from tessera_core.shuffle.norms import compute_norms
from tessera_core.shuffle.stage import run, sources
from tessera_core.testing.disk import run_with_full_disk
from tessera_core.testing.observations import pixels_as_lists
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile

SETTINGS = ("block_size_m=20", "rows_per_shard=20", "val_share=0.2", "test_share=0.2")


@pytest.fixture
def config(repo) -> PlatformConfig:
    """Blocks of two by two pixels, a fifth of them for val and test each."""
    return PlatformConfig.read(repo / "params.yaml", [f"shuffle.{value}" for value in SETTINGS])


def two_tiles() -> list[TileSeries]:
    """Two tiles of 10 x 8 pixels that share a corner of 4 x 4; three pixels are never clear."""
    east = make_tile(name="east", grid=make_grid(width=10, height=8), seed=1)
    corner = make_grid(west=500_060, north=5_599_960, width=10, height=8)
    south = make_tile(name="south", grid=corner, seed=2, num_s2=5, num_descending=0)
    scl = east.optical.scl.copy()
    scl[:, 2, 3:6] = SceneClass.CLOUD_HIGH
    return [replace(east, optical=replace(east.optical, scl=scl)), south]


@pytest.fixture
def paths(tmp_path) -> Paths:
    """A workspace with samples of two tiles."""
    paths = Paths(root=tmp_path, workspace=tmp_path)
    write_samples(paths.samples, two_tiles())
    return paths


def shards(paths: Paths, split: str):
    """All rows of a split."""
    import pyarrow as pa

    names = sorted(path for path in paths.shards.glob(f"{split}-*.parquet"))
    return pa.concat_tables(
        [read_table(name, SHARD).replace_schema_metadata(None) for name in names]
    )


def identities(table) -> list[tuple]:
    """Name, place and all observations of every row."""
    places = zip(
        *(table[name].to_pylist() for name in ("tile", "year", "row", "column")), strict=True
    )
    series = pixels_as_lists(pixels_of(table))
    return [(*place, str(pixel)) for place, pixel in zip(places, series, strict=True)]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_usable_pixel_is_in_one_shard_once_with_its_own_series(config, paths):
    run(config, paths, OFFLINE)

    expected = Counter()
    for folder in list_tiles(paths.samples):
        tile = read_tile(folder)
        for i, pixel in enumerate(pixels_as_lists(tile.pixels)):
            if any(clear for *_, clear in pixel[0]):
                expected[
                    tile.name, tile.year, int(tile.row[i]), int(tile.column[i]), str(pixel)
                ] += 1
    stored = Counter(row for split in SPLITS for row in identities(shards(paths, split)))
    assert stored == expected
    assert max(stored.values()) == 1


def test_pixels_that_are_never_clear_are_left_out_and_counted(config, paths):
    outcome = run(config, paths, OFFLINE)

    facts = Manifest.read(paths.shards).facts
    assert facts["num_without_clear"] == 3
    assert sum(facts["num_pixels"].values()) == 2 * 80 - 3
    assert outcome.facts["num_pixels"] == facts["num_pixels"]
    assert outcome.outputs == (paths.shards / "manifest.json",)


def test_no_block_and_no_place_is_in_two_splits(config, paths):
    run(config, paths, OFFLINE)

    tables = {split: shards(paths, split) for split in SPLITS}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        for columns in (("block",), ("epsg", "x", "y")):
            one, two = (
                set(zip(*(tables[name][c].to_pylist() for c in columns), strict=True))
                for name in (first, second)
            )
            assert one
            assert not one & two
    # The tiles overlap, so some places are there twice, on one side of the split.
    everywhere = [
        place
        for table in tables.values()
        for place in zip(table["x"].to_pylist(), table["y"].to_pylist(), strict=True)
    ]
    assert len(everywhere) > len(set(everywhere))


def test_norms_come_from_the_train_split_only(config, paths):
    run(config, paths, OFFLINE)

    norms = read_norms(paths.shards)
    train = pixels_of(shards(paths, "train"))
    others = [pixels_of(shards(paths, split)) for split in ("val", "test")]
    assert norms == compute_norms(train)
    assert norms != compute_norms(concatenate([train, *others]))


def test_a_shard_mixes_the_tiles(config, paths):
    run(config, paths, OFFLINE)

    for path in paths.shards.glob("train-*.parquet"):
        assert set(read_table(path, SHARD)["tile"].to_pylist()) == {"east", "south"}


def test_the_manifest_names_the_samples_and_every_file(config, paths):
    run(config, paths, OFFLINE)

    manifest = Manifest.read(paths.shards)
    assert find_differences(paths.shards, manifest) == []
    assert manifest.facts["samples"] == Manifest.read(paths.samples).digest
    assert manifest.facts["num_tiles"] == 2
    assert sources(config, paths) == ()


def test_the_same_samples_give_the_same_bytes_in_any_workspace(config, paths, tmp_path):
    there = Paths(root=tmp_path / "there", workspace=tmp_path / "there")
    write_samples(there.samples, reversed(two_tiles()))

    run(config, paths, OFFLINE)
    run(config, there, OFFLINE)

    assert len(tree(paths.shards)) > 8
    assert tree(paths.shards) == tree(there.shards)


def test_another_seed_gives_another_split_and_order(repo, config, paths):
    run(config, paths, OFFLINE)
    first = identities(shards(paths, "train"))
    settings = [f"shuffle.{value}" for value in (*SETTINGS, "seed=99")]

    run(PlatformConfig.read(repo / "params.yaml", settings), paths, OFFLINE)

    assert set(identities(shards(paths, "train"))) != set(first)


def test_too_few_blocks_leave_the_old_shards(repo, config, paths):
    run(config, paths, OFFLINE)
    before = tree(paths.data)
    large = PlatformConfig.read(repo / "params.yaml", ["shuffle.block_size_m=100000"])

    with pytest.raises(InputError, match=r"spatial blocks cannot give 1 to val, 1 to test and one"):
        run(large, paths, OFFLINE)

    assert tree(paths.data) == before


def test_without_samples_the_next_step_is_named(config, tmp_path):
    with pytest.raises(InputError, match=r"no samples in .*; run `tessera ingest` first"):
        run(config, Paths(root=tmp_path, workspace=tmp_path), OFFLINE)


def test_a_damaged_sample_file_is_named_and_leaves_nothing(config, paths):
    victim = list_tiles(paths.samples)[1] / "samples.parquet"
    victim.write_bytes(victim.read_bytes()[:-100])

    with pytest.raises(RecordError, match=f"cannot read {victim}"):
        run(config, paths, OFFLINE)

    assert not paths.shards.exists()
    assert {path.name for path in paths.data.iterdir()} == {"samples"}


SHUFFLE = """
import json
from pathlib import Path
from tessera_core.config import PlatformConfig
from tessera_core.errors import TesseraError
from tessera_core.ports import OFFLINE
from tessera_core.records.paths import Paths
from tessera_core.shuffle.stage import run
params, root, *settings = sys.argv[1:]
paths = Paths(root=Path(root), workspace=Path(root))
try:
    run(PlatformConfig.read(Path(params), settings), paths, OFFLINE)
except TesseraError as error:
    print(json.dumps([type(error).__name__, error.exit_code, str(error)]))
"""


def test_a_full_disk_leaves_no_shard_behind(repo, paths):
    before = tree(paths.data)
    settings = [f"shuffle.{value}" for value in SETTINGS]

    run = run_with_full_disk(
        SHUFFLE, str(repo / "params.yaml"), str(paths.root), *settings, max_file_size=4096
    )

    kind, exit_code, message = json.loads(run.stdout)
    assert (kind, exit_code) == ("StorageError", 2), run.stderr
    assert f"cannot write {paths.shards}: " in message
    assert "File too large" in message
    assert tree(paths.data) == before


def test_counts_are_whole_numbers_that_json_knows(config, paths):
    outcome = run(config, paths, OFFLINE)

    assert json.loads(json.dumps(outcome.facts)) == outcome.facts
    assert np.isfinite(list(read_norms(paths.shards).s2.mean)).all()
