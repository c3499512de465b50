"""Samples: a tile comes back from disk pixel by pixel, and equal tiles are equal bytes."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tessera_core.domain.backscatter import present_mask
from tessera_core.domain.scl import clear_mask
from tessera_core.domain.tile import TileSeries, empty_radar
from tessera_core.errors import RecordError
from tessera_core.records.samples import (
    SAMPLES_NAME,
    SCENES_NAME,
    list_tiles,
    pixels_of,
    read_scenes,
    read_table,
    read_tile,
    tile_folder,
    write_tile,
)
from tessera_core.records.schema import SAMPLES
from tessera_core.testing.disk import run_with_full_disk
from tessera_core.testing.observations import Observation, Pixel, observations_of, pixels_as_lists
from tessera_core.testing.samples import make_scene
from tessera_core.testing.tiles import make_tile


def pixel_of(tile: TileSeries, row: int, column: int) -> Pixel:
    """One d-pixel straight from the tile's cubes."""

    def series(days, values, valid) -> list[Observation]:
        return [
            (int(day), tuple(value.tolist()), bool(flag))
            for day, value, flag in zip(
                days, values[:, row, column], valid[:, row, column], strict=True
            )
        ]

    optical, radar = tile.optical, (tile.ascending, tile.descending)
    return (
        series(optical.day_of_year, optical.reflectance, clear_mask(optical.scl)),
        *(
            series(
                orbit.day_of_year,
                orbit.backscatter_scaled_db,
                present_mask(orbit.backscatter_scaled_db),
            )
            for orbit in radar
        ),
    )


@pytest.fixture
def written(tmp_path) -> tuple[TileSeries, Path]:
    """A tile of 4 x 5 pixels and the folder it was written to."""
    tile = make_tile(name="here", year=2019, seed=3)
    folder = tile_folder(tmp_path, "here", 2019)
    write_tile(tile, [make_scene("b"), make_scene("a")], folder)
    return tile, folder


def test_every_pixel_comes_back_with_all_its_observations(written):
    tile, folder = written

    read = read_tile(folder)

    assert len(read) == tile.grid.width * tile.grid.height
    assert pixels_as_lists(read.pixels) == [
        pixel_of(tile, int(row), int(column))
        for row, column in zip(read.row, read.column, strict=True)
    ]


def test_name_year_grid_and_positions_come_back(written):
    tile, folder = written

    read = read_tile(folder)

    x, y = tile.grid.centres()
    assert (read.name, read.year, read.grid) == ("here", 2019, tile.grid)
    assert np.array_equal(read.x, x[read.column])
    assert np.array_equal(read.y, y[read.row])


def test_obscured_observations_are_stored_too(written):
    tile, folder = written

    pixels = read_tile(folder).pixels

    assert len(pixels.optical.values) == tile.optical.scl.size
    assert 0 < pixels.optical.valid.sum() < tile.optical.scl.size


def test_only_pixels_inside_the_region_are_stored(tmp_path):
    inside = np.zeros((4, 5), np.bool_)
    inside[1, 4] = inside[3, 0] = True
    tile = replace(make_tile(), inside=inside)

    count = write_tile(tile, [], tmp_path)

    read = read_tile(tmp_path)
    assert count == 2
    assert list(zip(read.row.tolist(), read.column.tolist(), strict=True)) == [(1, 4), (3, 0)]
    assert pixels_as_lists(read.pixels) == [pixel_of(tile, 1, 4), pixel_of(tile, 3, 0)]


@pytest.mark.parametrize("orbits", [("descending",), ("ascending", "descending")])
def test_an_orbit_of_length_0_is_stored_as_empty_series(tmp_path, orbits):
    tile = make_tile()
    tile = replace(tile, **{orbit: empty_radar(tile.grid) for orbit in orbits})

    write_tile(tile, [], tmp_path)

    pixels = read_tile(tmp_path).pixels
    for orbit in orbits:
        assert observations_of(getattr(pixels, orbit)) == [[]] * 20
        assert getattr(pixels, orbit).values.shape == (0, 2)


def test_scenes_come_back_sorted(written):
    _, folder = written

    assert read_scenes(folder) == [asdict(make_scene("a")), asdict(make_scene("b"))]


def test_equal_tiles_are_equal_bytes_in_any_order_of_scenes(tmp_path):
    for name, scenes in (("one", "ab"), ("two", "ba")):
        write_tile(make_tile(), [make_scene(scene) for scene in scenes], tmp_path / name)

    for file in (SAMPLES_NAME, SCENES_NAME):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_value_is_other_bytes(tmp_path):
    tile = make_tile()
    reflectance = tile.optical.reflectance.copy()
    reflectance[2, 1, 3, 7] ^= 1
    other = replace(tile, optical=replace(tile.optical, reflectance=reflectance))

    write_tile(tile, [], tmp_path / "one")
    write_tile(other, [], tmp_path / "two")

    one, two = (tmp_path / name / SAMPLES_NAME for name in ("one", "two"))
    assert one.read_bytes() != two.read_bytes()


def test_tiles_are_listed_by_name_and_year(tmp_path):
    for name, year in (("b", 2020), ("a", 2021), ("a", 2020)):
        write_tile(make_tile(name=name, year=year), [], tile_folder(tmp_path, name, year))
    (tmp_path / "tile=c" / "window=2020").mkdir(parents=True)

    found = [folder.relative_to(tmp_path).as_posix() for folder in list_tiles(tmp_path)]

    assert found == ["tile=a/window=2020", "tile=a/window=2021", "tile=b/window=2020"]


def test_a_slice_of_a_table_is_read_as_that_slice(written):
    _, folder = written
    table = read_table(folder / SAMPLES_NAME, SAMPLES)

    sliced = pixels_of(table.slice(7, 5))

    assert pixels_as_lists(sliced) == pixels_as_lists(pixels_of(table))[7:12]


def test_a_table_in_several_chunks_is_read_as_one(written):
    import pyarrow as pa

    _, folder = written
    table = read_table(folder / SAMPLES_NAME, SAMPLES)
    chunked = pa.concat_tables([table.slice(0, 3), table.slice(3, 0), table.slice(3)])

    assert pixels_as_lists(pixels_of(chunked)) == pixels_as_lists(pixels_of(table))


def test_a_table_without_rows_has_no_pixels():
    assert len(pixels_of(SAMPLES.empty_table())) == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_off_file_is_refused(written, share):
    _, folder = written
    path = folder / SAMPLES_NAME
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(RecordError, match=r"cannot read .*samples\.parquet"):
        read_tile(folder)


def test_a_damaged_page_is_refused(written):
    _, folder = written
    path = folder / SAMPLES_NAME
    content = bytearray(path.read_bytes())
    content[300:340] = bytes(40)
    path.write_bytes(bytes(content))

    with pytest.raises(RecordError, match=r"cannot read .*samples\.parquet"):
        read_tile(folder)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read .*samples\.parquet"):
        read_tile(tmp_path)


def test_other_columns_are_refused(written):
    _, folder = written
    (folder / SAMPLES_NAME).write_bytes((folder / SCENES_NAME).read_bytes())

    with pytest.raises(RecordError, match=r"has columns \['scene_id', .* Ingest again"):
        read_tile(folder)


def test_a_column_of_another_type_is_refused(written):
    _, folder = written
    table = pq.ParquetFile(folder / SAMPLES_NAME).read()
    index = table.schema.names.index("row")
    pq.write_table(
        table.set_column(index, "row", table["row"].cast("int64")), folder / SAMPLES_NAME
    )

    with pytest.raises(RecordError, match="was it written by another version"):
        read_tile(folder)


WRITE_TILE = """
import json
from pathlib import Path
from tessera_core.errors import TesseraError
from tessera_core.records.files import atomic_folder
from tessera_core.records.samples import tile_folder
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile
tiles = [make_tile(name=name, grid=make_grid(width=30, height=30)) for name in "ab"]
try:
    with atomic_folder(Path(sys.argv[1])) as folder:
        write_samples(folder, tiles)
except TesseraError as error:
    print(json.dumps([type(error).__name__, error.exit_code, str(error)]))
"""


def test_a_full_disk_leaves_no_sample_behind(tmp_path):
    run = run_with_full_disk(WRITE_TILE, str(tmp_path / "samples"), max_file_size=50_000)

    kind, exit_code, message = json.loads(run.stdout)
    assert (kind, exit_code) == ("StorageError", 2), run.stderr
    assert f"cannot write {tmp_path / 'samples'}: " in message
    assert "File too large" in message
    assert list(tmp_path.iterdir()) == []
