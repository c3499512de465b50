"""Samples, tile directories and tables, read as parts that know their labels."""

import json
import shutil

import numpy as np
import pytest

from tessera_core.benchmarks.sources import read_parts, source_files
from tessera_core.errors import AbsentDataError, InputError, SceneError
from tessera_core.records.benchmarks import DataSource, Source
from tessera_core.records.selection_fields import selection_fields
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tables import long_labels, long_series, write_long_table
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.evaluate.planted import make_benchmark

GRID = make_grid(width=20, height=10)
PARCEL = (1 + np.arange(20 * 10) // 10).reshape(10, 20).astype(np.int32)
SAMPLES = DataSource(kind=Source.SAMPLES)
TILES = DataSource(kind=Source.TILES, path="mine")
TABLE = DataSource(kind=Source.TABLE, path="points.parquet", labels="points-labels.parquet")


def write_labels(folder):
    folder.mkdir(parents=True, exist_ok=True)
    write_raster(folder / "crop_type.tif", np.full_like(PARCEL, 7), GRID, nodata=0)
    write_raster(folder / "parcel_id.tif", PARCEL, GRID, nodata=0)
    write_raster(folder / "slope.tif", PARCEL.astype(np.float32) / 2, GRID, nodata=None)


def write_directory(folder, **facts):
    tile = make_tile(name=folder.name, grid=GRID)
    document = {**tile_document(GRID, tile.year), **facts}
    write_tile_directory(folder, tile_arrays(tile), document)
    write_labels(folder)


def parts_of(data, base, labels=()):
    return list(read_parts(data, base / "samples", list(labels), base))


def test_samples_hide_the_crops_of_fields_that_choose_and_nothing_else(tmp_path):
    write_samples(tmp_path / "samples", [make_tile(grid=GRID)])
    write_labels(tmp_path / "labels")
    chosen = selection_fields([tmp_path / "labels"])

    (part,) = parts_of(SAMPLES, tmp_path, [tmp_path / "labels"])

    is_chosen = np.isin(PARCEL[part.row, part.column_number], chosen)
    assert len(chosen) == 5
    assert np.array_equal(part.raster("crop_type.tif") == 0, is_chosen)
    assert np.array_equal(part.raster("parcel_id.tif") == 0, is_chosen)
    # Who shares a field with whom is no secret: it is what keeps it on one side.
    assert np.array_equal(part.parcel, PARCEL[part.row, part.column_number])
    assert np.array_equal(part.raster("slope.tif"), part.parcel / 2)


def test_tiles_hide_nothing_for_no_encoder_was_chosen_by_them(tmp_path):
    write_directory(tmp_path / "mine" / "east")
    write_directory(tmp_path / "mine" / "west")

    east, west = parts_of(TILES, tmp_path)

    assert (east.name, west.name, east.year) == ("east", "west", 2022)
    assert (east.raster("crop_type.tif") == 7).all()
    assert len(east.pixels) == 200


def test_one_directory_is_a_source_too(tmp_path):
    write_directory(tmp_path / "mine")

    (part,) = parts_of(TILES, tmp_path)

    assert (part.raster("crop_type.tif") == 7).all()


def test_a_raster_that_is_not_there_labels_nothing(tmp_path):
    write_directory(tmp_path / "mine")

    (part,) = parts_of(TILES, tmp_path)

    assert np.isnan(part.raster("biomass.tif")).all()


def test_a_tile_says_which_side_of_a_given_split_it_is_on(tmp_path):
    write_directory(tmp_path / "mine" / "a", split="train")
    write_directory(tmp_path / "mine" / "b", split=None)

    first, second = parts_of(TILES, tmp_path)

    assert set(first.words("split")) == {"train"}
    assert set(second.words("split")) == {""}
    with pytest.raises(InputError, match=r"tile\.json has no splat\. Did you mean 'split'"):
        first.words("splat")


def test_a_table_has_columns_and_places_in_degrees(tmp_path):
    write_long_table(tmp_path, long_series(6), long_labels(6))

    (part,) = parts_of(TABLE, tmp_path)

    assert part.grid is None
    assert part.column("label").tolist() == [1, 2, 1, 2, 1, 2]
    assert part.words("split").tolist() == ["", "train", "test"] * 2
    assert set(part.epsg) == {4326}
    assert part.x[2] == pytest.approx(30.01)
    with pytest.raises(InputError, match=r"has no column lable\. Did you mean 'label'"):
        part.column("lable")
    with pytest.raises(InputError, match=r"is a table and has no raster crop_type\.tif"):
        part.raster("crop_type.tif")


@pytest.mark.parametrize("data", [SAMPLES, TILES, TABLE])
def test_absent_data_is_told_from_broken_data(tmp_path, data):
    with pytest.raises(AbsentDataError, match=r"there are no samples|holds no "):
        parts_of(data, tmp_path)


def test_broken_data_is_not_taken_for_absent(tmp_path):
    write_directory(tmp_path / "mine")
    (tmp_path / "mine" / "doys.npy").unlink()

    with pytest.raises(SceneError, match=r"doys\.npy is missing"):
        parts_of(TILES, tmp_path)


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path):
    write_directory(tmp_path / "base" / "mine")
    shutil.move(tmp_path / "base/mine/crop_type.tif", tmp_path / "crop_type.tif")
    (tmp_path / "base/mine/crop_type.tif").symlink_to(tmp_path / "crop_type.tif")
    (tmp_path / "base/link").symlink_to(tmp_path, target_is_directory=True)

    for path in ("mine", "link"):
        with pytest.raises(InputError, match="leads out of"):
            parts_of(DataSource(kind=Source.TILES, path=path), tmp_path / "base")


def test_receipts_name_the_data_a_task_reads_and_nothing_where_it_is_absent(tmp_path):
    write_directory(tmp_path / "mine")
    task = make_benchmark(data=TILES)

    named = {one.path for one in source_files(task, [], tmp_path, tmp_path)}

    assert {"mine/bands.npy", "mine/tile.json", "mine/crop_type.tif", "mine/parcel_id.tif"} <= named
    assert "mine/slope.tif" not in named
    assert source_files(task, [], tmp_path / "elsewhere", tmp_path) == ()


def test_the_real_tile_of_flanders_is_a_source(shared_data):
    data = DataSource(kind=Source.TILES, path="flanders-2018")

    (part,) = read_parts(data, shared_data, [], shared_data)

    assert part.year == json.loads((shared_data / "flanders-2018/tile.json").read_text())["year"]
    assert (np.nan_to_num(part.raster("crop_type.tif")) > 0).sum() == 2236
    assert len(np.unique(part.parcel[part.parcel > 0])) == 19
