"""A tile directory to two NPY files beside it: right place, right type, whole or absent."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tessera_core.domain.embedding import Coding, quantise
from tessera_core.domain.tile import take_pixels
from tessera_core.errors import ArtifactError, SceneError, StorageError
from tessera_core.export import directory
from tessera_core.export.directory import Inference, embed_directory
from tessera_core.ingest.sources.tiles import read_series
from tessera_core.model.embed import embed_pixels
from tessera_core.model.family import Family
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.disk import run_with_full_disk
from tessera_core.testing.models import TINY_SHAPE, tiny_model
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.model.made import made_model

TILE = make_tile(seed=1)
HEIGHT, WIDTH = TILE.grid.height, TILE.grid.width
MODEL = tiny_model(seed=1)
PLAIN = Inference()
TOLERANCE = 5e-6
"""Absolute, on values of deviation 1: batches of another size sum in another order."""

REGION = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 2, 0, 0, 1]], np.uint8)
"""Unlike itself when turned or mirrored; 2 is not inside."""


def write(folder, changes=None, region=None):
    """The tile as a directory; ``changes`` replaces arrays, None takes one away."""
    arrays = {**tile_arrays(TILE), **(changes or {})}
    kept = {name: array for name, array in arrays.items() if array is not None}
    write_tile_directory(folder, kept, tile_document(TILE.grid, 2022))
    if region is not None:
        grid = make_grid(width=region.shape[1], height=region.shape[0])
        write_raster(folder / "roi.tiff", region, grid, nodata=None)
    return folder


def without_data(row, column):
    """Arrays in which one pixel was never seen."""
    arrays = {name: array.copy() for name, array in tile_arrays(TILE).items()}
    for name in ("masks", "sar_ascending", "sar_descending"):
        arrays[name][:, row, column] = 0
    return arrays


def embedded(tile, out, model=MODEL, how=PLAIN, *, as_float=False):
    """The two arrays as written."""
    done = embed_directory(tile, out, model, how, as_float=as_float)
    return np.load(done.values), np.load(done.scales)


def pixel_by_pixel(tile, model=MODEL, **how):
    """(row, column, dimension), each pixel taken on its own."""
    rows = []
    for row in range(HEIGHT):
        for column in range(WIDTH):
            pixel = take_pixels(*read_series(tile), np.array([row]), np.array([column]))
            rows.append(embed_pixels(model, pixel, batch_size=1, **how)[0])
    return np.array(rows).reshape(HEIGHT, WIDTH, -1)


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_tile_becomes_int8_codes_and_scales_named_after_it(tmp_path):
    tile = write(tmp_path / "33UXP")

    done = embed_directory(tile, tmp_path / "out", MODEL, PLAIN, as_float=False)

    codes, scales = np.load(done.values), np.load(done.scales)
    assert names(tmp_path / "out") == ["33UXP.npy", "33UXP_scales.npy"]
    assert (done.shape, done.num_embedded) == ((4, 5), 20)
    assert (codes.dtype, codes.shape) == (np.int8, (4, 5, 12))
    assert (scales.dtype, scales.shape) == (np.float32, (4, 5))
    expected = quantise(pixel_by_pixel(tile))
    assert np.abs(codes.astype(int) - expected.codes).max() <= 1
    np.testing.assert_allclose(scales, expected.scale, rtol=1e-5)


def test_a_tile_becomes_float32_values_where_asked(tmp_path):
    tile = write(tmp_path / "tile")

    values, scales = embedded(tile, tmp_path / "out", as_float=True)

    assert (values.dtype, values.shape) == (np.float32, (4, 5, 12))
    np.testing.assert_allclose(values, pixel_by_pixel(tile), atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(scales, quantise(values).scale)


def test_pixels_outside_the_region_of_interest_have_no_data(tmp_path):
    tile = write(tmp_path / "tile", region=REGION)
    whole = pixel_by_pixel(tile)
    inside = REGION == 1

    values, scales = embedded(tile, tmp_path / "out", as_float=True)
    codes, _ = embedded(tile, tmp_path / "codes")

    assert np.array_equal(np.isfinite(scales), inside)
    assert not codes[~inside].any()
    assert not values[~inside].any()
    np.testing.assert_allclose(values[inside], whole[inside], atol=TOLERANCE, rtol=0)
    assert np.abs(whole - whole[::-1]).max() > 0.1, "a mirrored tile would be noticed"


def test_a_region_smaller_than_a_padded_edge_patch_ends_where_it_ends(tmp_path):
    tile = write(tmp_path / "tile", region=np.ones((3, 2), np.uint8))

    _, scales = embedded(tile, tmp_path / "out")

    assert np.isfinite(scales[:3, :2]).all()
    assert np.isnan(scales[3:]).all()
    assert np.isnan(scales[:, 2:]).all()


def test_a_pixel_without_data_is_0_with_a_scale_of_nan(tmp_path):
    tile = write(tmp_path / "tile", without_data(row=1, column=3))

    done = embed_directory(tile, tmp_path / "out", MODEL, PLAIN, as_float=False)
    codes, scales = np.load(done.values), np.load(done.scales)
    values, float_scales = embedded(tile, tmp_path / "float", as_float=True)

    assert np.argwhere(np.isnan(scales)).tolist() == [[1, 3]]
    assert np.array_equal(scales, float_scales, equal_nan=True)
    assert not codes[1, 3].any()
    assert not values[1, 3].any()
    assert np.isfinite(values).all()
    assert done.num_embedded == 19


def test_a_tile_that_nothing_saw_is_written_as_no_data(tmp_path):
    tile = write(tmp_path / "tile", region=np.zeros((4, 5), np.uint8))

    codes, scales = embedded(tile, tmp_path / "out")

    assert not codes.any()
    assert np.isnan(scales).all()


def test_a_tile_larger_than_a_block_is_embedded_block_after_block(tmp_path, monkeypatch):
    tile = write(tmp_path / "tile", region=REGION)
    expected, _ = embedded(tile, tmp_path / "whole", as_float=True)

    monkeypatch.setattr(directory, "BLOCK", 3)
    found, _ = embedded(tile, tmp_path / "parts", as_float=True)

    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


def test_an_orbit_without_passes_is_no_fault(tmp_path):
    nothing = {
        "sar_ascending": np.zeros((0, 4, 5, 2), np.int16),
        "sar_ascending_doy": np.zeros(0, np.int16),
    }
    tile = write(tmp_path / "tile", nothing)

    _, scales = embedded(tile, tmp_path / "out")

    assert np.isfinite(scales).all()


def test_a_tile_is_known_by_the_folder_it_is_and_not_by_the_way_there(tmp_path, monkeypatch):
    tile = write(tmp_path / "33UXP")
    monkeypatch.chdir(tile)

    done = embed_directory(tile.relative_to(tile), tmp_path / "out", MODEL, PLAIN, as_float=False)

    assert done.values.name == "33UXP.npy"


def test_width_seed_repeats_and_precision_reach_the_model(tmp_path):
    tile = write(tmp_path / "tile")
    student, random = made_model(Family.V2_STUDENT), made_model(Family.V1_0_EARLY)

    narrow, scales = embedded(tile, tmp_path / "a", student, Inference(dim=32), as_float=True)
    seeded, _ = embedded(tile, tmp_path / "b", random, Inference(seed=5, repeats=2), as_float=True)
    rough, _ = embedded(tile, tmp_path / "c", student.in_bfloat16(), Inference(), as_float=True)

    whole = pixel_by_pixel(tile, student)
    np.testing.assert_allclose(narrow, whole[..., :32], atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(scales, quantise(narrow).scale)
    drawn = pixel_by_pixel(tile, random, seed=5, repeats=2)
    np.testing.assert_allclose(seeded, drawn, atol=TOLERANCE, rtol=0)
    assert 1e-4 < np.abs(rough - whole).max() < 0.5


def test_codes_follow_the_rule_of_the_model(tmp_path):
    tile = write(tmp_path / "tile")
    # So small that the floors of the two rules decide the scale.
    model = tiny_model(seed=1, shape=replace(TINY_SHAPE, final_norm=False))
    for value in model.encoder.reducer[4].parameters():
        value.data *= 1e-9
    v1 = replace(model.config, output=replace(model.config.output, coding=Coding.V1))

    _, v2_scales = embedded(tile, tmp_path / "v2", model)
    _, v1_scales = embedded(tile, tmp_path / "v1", replace(model, config=v1))

    assert (v1_scales == np.float32(1e-8)).all()
    assert (v2_scales < 1e-9).all()


FAULTS = {
    "no mask": ({"masks": None}, r"masks\.npy is missing; a tile directory needs"),
    "no radar": ({"sar_descending": None}, r"sar_descending\.npy is missing"),
    "mask of another type": ({"masks": np.ones((9, 4, 5), np.int64)}, "type int64, but .* uint8"),
    "mask of another shape": ({"masks": np.ones((9, 5, 4), np.uint8)}, r"needs \(9, 4, 5\)"),
    "bands as float": (
        {"bands": np.ones((9, 4, 5, 10), np.float32)},
        "S2 reflectance is float32, expected uint16",
    ),
    "radar as float": (
        {"sar_ascending": np.ones((7, 4, 5, 2), np.float32)},
        "S1 backscatter is float32, expected int16",
    ),
    "plain decibels": (
        {"sar_ascending": np.full((7, 4, 5, 2), -12, np.int16)},
        "goes down to -12, expected scaled dB",
    ),
    "days from 0": ({"doys": np.arange(9, dtype=np.uint16)}, r"spans 0\.\.8, expected 1\.\.366"),
    "wider radar": (
        {"sar_ascending": np.ones((7, 4, 6, 2), np.int16)},
        r"tile: S1 ascending covers \(4, 6\) \(rows, columns\), but S2 covers \(4, 5\)",
    ),
    "smaller radar": (
        {"sar_descending": np.ones((4, 3, 5, 2), np.int16)},
        r"tile: S1 descending covers \(3, 5\) .* but S2 covers \(4, 5\)",
    ),
    "turned radar": (
        {"sar_descending": np.ones((4, 5, 4, 2), np.int16)},
        r"tile: S1 descending covers \(5, 4\) .* but S2 covers \(4, 5\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_tile_is_refused_and_nothing_is_written(tmp_path, fault):
    changes, message = FAULTS[fault]
    tile = write(tmp_path / "tile", changes)

    with pytest.raises(SceneError, match=message):
        embedded(tile, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_truncated_array_is_refused_and_older_files_stay(tmp_path):
    tile = write(tmp_path / "tile")
    embedded(tile, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tile / "bands.npy").write_bytes((tile / "bands.npy").read_bytes()[:-9])

    with pytest.raises(SceneError, match=r"cannot read .*bands\.npy.*truncated"):
        embedded(tile, tmp_path / "out")

    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_tile_that_was_decimated_is_refused(tmp_path):
    tile = write(tmp_path / "tile", region=np.ones((40, 50), np.uint8))

    with pytest.raises(SceneError, match=r"\(40, 50\) pixels, but .* were they decimated"):
        embedded(tile, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_tile_is_refused(tmp_path):
    with pytest.raises(SceneError, match=r"nowhere.bands\.npy is missing"):
        embedded(tmp_path / "nowhere", tmp_path / "out")


def test_a_width_that_the_model_does_not_order_is_refused_before_the_tile_is_read(tmp_path):
    with pytest.raises(ArtifactError, match="first 6 values are no embedding"):
        embedded(tmp_path / "nowhere", tmp_path / "out", how=Inference(dim=6))

    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path):
    tile = write(tmp_path / "tile")
    (tmp_path / "out").write_text("a file")

    with pytest.raises(StorageError, match=r"cannot write .*tile\.npy"):
        embedded(tile, tmp_path / "out")


EMBED = """
import json
from dataclasses import replace
from pathlib import Path
from tessera_core.errors import TesseraError
from tessera_core.export.directory import Inference, embed_directory
from tessera_core.testing.models import TINY_SHAPE, tiny_model
folder = Path(sys.argv[1])
model = tiny_model(1, replace(TINY_SHAPE, embedding_dim=int(sys.argv[2])))
try:
    embed_directory(folder / "tile", folder / "out", model, Inference(), as_float=False)
except TesseraError as error:
    print(json.dumps([type(error).__name__, error.exit_code, str(error)]))
"""


@pytest.mark.parametrize(("width", "limit"), [(12, 250), (2, 190)], ids=["values", "scales"])
def test_a_full_disk_leaves_neither_file_nor_any_part(tmp_path, width, limit):
    # 20 pixels: 128 bytes of header, then 12 or 2 bytes of codes and 4 bytes of scale each.
    write(tmp_path / "tile")

    run = run_with_full_disk(EMBED, str(tmp_path), str(width), max_file_size=limit)

    kind, exit_code, message = json.loads(run.stdout)
    assert (kind, exit_code) == ("StorageError", 2), run.stderr
    assert "Nothing was left half-written" in message
    assert names(tmp_path / "out") == []


def test_a_tile_is_never_embedded_into_itself(tmp_path):
    tile = write(tmp_path / "bands")
    before = names(tile)

    with pytest.raises(SceneError, match="is the tile itself"):
        embedded(tile, tile)

    assert names(tile) == before
