"""Shards on disk: rows that know where they come from, cut into files of equal length."""

import numpy as np
import pytest

from tessera_core.domain.grid import block_ids
from tessera_core.records.samples import list_tiles, pixels_of, read_table, read_tile
from tessera_core.records.schema import SHARD, metadata_of
from tessera_core.shuffle.write import load_rows, write_shards
from tessera_core.testing.observations import pixels_as_lists
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Folders and contents of two tiles of 20 d-pixels, in two zones and years."""
    samples = tmp_path_factory.mktemp("samples")
    write_samples(
        samples,
        [
            make_tile(name="east", year=2021, grid=make_grid(epsg=32632), seed=1),
            make_tile(name="west", year=2022, grid=make_grid(epsg=32631), seed=2, num_s2=4),
        ],
    )
    folders = list_tiles(samples)
    return folders, [read_tile(folder) for folder in folders]


@pytest.fixture(scope="module")
def rows(tiles):
    return load_rows(*tiles, block_size_m=20)


def test_rows_say_which_tile_year_zone_and_block_they_are_from(tiles, rows):
    _, (east, west) = tiles

    assert rows.schema.equals(SHARD)
    assert rows["tile"].to_pylist() == ["east"] * 20 + ["west"] * 20
    assert rows["year"].to_pylist() == [2021] * 20 + [2022] * 20
    assert rows["epsg"].to_pylist() == [32632] * 20 + [32631] * 20
    for part, tile in ((rows.slice(0, 20), east), (rows.slice(20), west)):
        epsg = np.full(20, tile.grid.epsg, np.int32)
        expected = block_ids(epsg, tile.x, tile.y, 20)
        assert part["block"].to_pylist() == expected.tolist()
        assert part["x"].to_pylist() == tile.x.tolist()


def test_rows_hold_the_series_of_their_tiles(tiles, rows):
    _, (east, west) = tiles

    assert pixels_as_lists(pixels_of(rows)) == [
        *pixels_as_lists(east.pixels),
        *pixels_as_lists(west.pixels),
    ]


def test_shards_keep_the_order_and_differ_in_length_by_one_at_most(rows, tmp_path):
    order = np.random.default_rng(3).permutation(40)[:23]

    names = write_shards(rows, order, "train", 6, tmp_path)

    assert names == [f"train-0000{i}-of-00004.parquet" for i in range(4)]
    shards = [read_table(tmp_path / name, SHARD) for name in names]
    assert [shard.num_rows for shard in shards] == [6, 6, 6, 5]
    stored = [pixel for shard in shards for pixel in pixels_as_lists(pixels_of(shard))]
    lists = pixels_as_lists(pixels_of(rows))
    assert stored == [lists[row] for row in order]


def test_a_shard_knows_its_split_and_number(rows, tmp_path):
    _, second = write_shards(rows, np.arange(10), "val", 5, tmp_path)

    metadata = metadata_of(read_table(tmp_path / second, SHARD).schema, second)

    assert (metadata["split"], metadata["shard"], metadata["num_shards"]) == ("val", 1, 2)


def test_a_split_without_rows_has_no_shard(rows, tmp_path):
    assert write_shards(rows, np.zeros(0, np.int64), "test", 5, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_equal_rows_are_equal_bytes(rows, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_shards(rows, np.arange(9), "train", 4, tmp_path / name)

    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
