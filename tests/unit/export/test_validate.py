"""The validator finds every fault; the ones clients accept above all (interop.md 7)."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr

from tessera_core.export.store import consolidate
from tessera_core.export.validate import validate_export
from tessera_core.records.manifest import Manifest, write_manifest
from tests.unit.export.built import GRIDS

EAST = "npy/east/2022/east.npy"
EAST_SCALES = "npy/east/2022/east_scales.npy"
ZARR = "embeddings.zarr"


def reseal(folder, **facts):
    """Write the manifest anew, so that only the content can give a fault away."""
    manifest = Manifest.read(folder)
    write_manifest(folder, manifest.kind, {**manifest.facts, **facts})


def change_array(folder, name, change):
    path = folder / name
    np.save(path, change(np.load(path)))


def change_json(folder, name, change):
    path = folder / name
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))


def put(array, index, value):
    changed = array.copy()
    changed[index] = value
    return changed


def change_zarr(folder, name, index, value):
    zarr.open_group(folder / ZARR, mode="r+", use_consolidated=False)[name][index] = value


def change_attribute(folder, group, name, value):
    place = zarr.open_group(folder / ZARR / group, mode="r+", use_consolidated=False)
    place.attrs[name] = value
    consolidate(folder / ZARR)


ARRAY_FAULTS = {
    "floats instead of int8": (
        EAST, lambda codes: codes.astype(np.float32), r"east\.npy: float32 .* expected int8",
    ),
    "half the dimensions": (EAST, lambda codes: codes[..., :8], r"east\.npy: int8 \(18, 20, 8\)"),
    "twice the dimensions": (
        EAST, lambda codes: np.concatenate([codes, codes], axis=-1), r"int8 \(18, 20, 32\)",
    ),
    "another shape": (EAST, lambda codes: codes[:-1], r"east\.npy: int8 \(17, 20, 16\)"),
    "rows upside down": (EAST, lambda codes: codes[::-1], r"pixels have codes but no scale"),
    "the forbidden code": (
        EAST, lambda codes: put(codes, (9, 9, 3), -128), r"1 pixels hold code -128",
    ),
    "a vector below full range": (
        EAST, lambda codes: put(codes, (9, 9), 5), r"1 pixels do not reach code 127",
    ),
    "codes without data": (
        EAST, lambda codes: put(codes, (0, 0, 1), 7), r"1 pixels have codes but no scale",
    ),
    "one other code": (
        EAST,
        lambda codes: put(codes, (9, 9, np.abs(codes[9, 9]).argmin()), 1),
        r"utm31: 1 pixels differ from NPY tile east/2022",
    ),
    "an absurd scale": (
        EAST_SCALES, lambda scales: put(scales, (9, 9), 1e5), r"1 scales are outside .* as 100000",
    ),
    "scale 0 where there is no data": (
        EAST_SCALES,
        lambda scales: np.nan_to_num(scales, nan=0.0),
        r"east_scales\.npy: 15 scales are outside \(0, 1\), as 0",
    ),
    "a negative scale": (
        EAST_SCALES, lambda scales: put(scales, (9, 9), -0.01), r"outside \(0, 1\), as -0\.01",
    ),
    "an infinite scale": (
        EAST_SCALES, lambda scales: put(scales, (0, 0), np.inf), r"1 scales are infinite",
    ),
    "double precision": (
        EAST_SCALES, lambda scales: scales.astype(float), r"float64 \(18, 20\), expected float32",
    ),
    "one other scale": (
        EAST_SCALES, lambda scales: put(scales, (9, 9), 0.5), r"1 pixels differ from NPY tile east",
    ),
    "a pixel too many": (
        EAST_SCALES, lambda scales: put(scales, (0, 0), 0.5), r"346 pixels have data, .* says 345",
    ),
}  # fmt: skip

ZARR_FAULTS = {
    "a code changed": ("utm31/embeddings", (1, 2, 14, 44), 99, r"1 pixels differ .* east/2022"),
    "a scale changed": ("utm31/scales", (1, 14, 44), 0.3, r"1 pixels differ .* east/2022"),
    "data outside all tiles": (
        "utm31/scales", (0, 28, 2), 0.3, r"utm31/scales: 1336 pixels have data, .* give 1335",
    ),
    "water that nobody mapped": ("utm36/scales", (1, 0, 0), np.nan, r"1 pixels without data are"),
    "codes outside all tiles": (
        "utm31/embeddings", (0, 2, 28, 2), 5, r"utm31/embeddings: 1 pixels have codes but no scale",
    ),
    "edges instead of centres": (
        "utm31/x", slice(None), 500000 + 10.0 * np.arange(50), r"utm31/x: coordinates are not",
    ),
    "south up": ("utm31/y", slice(None), -np.arange(30.0), r"utm31/y: coordinates are not"),
    "other years": ("utm36/time", slice(None), [2020, 2021], r"utm36/time: coordinates are not"),
}  # fmt: skip

ATTRIBUTE_FAULTS = {
    "another CRS": ("utm31", "proj:code", "EPSG:32632", r"utm31: proj:code is EPSG:32632"),
    "another place": (
        "utm31", "spatial:transform", [10, 0, 0, 0, -10, 0], r"utm31: spatial:transform is",
    ),
    "other dimensions": ("", "geoemb:dimensions", 64, r"geoemb:dimensions is 64, expected 16"),
    "another model": ("", "geoemb:model", "models:/tessera/4", r"geoemb:model is .*tessera/4"),
    "other weights": ("", "tessera:model_digest", "c" * 64, r"tessera:model_digest is 'ccc"),
    "no source": ("", "geoemb:source_data", [], r"geoemb:source_data is missing or empty"),
    "no convention": ("", "zarr_conventions", [], r"zarr_conventions is False"),
}  # fmt: skip


def test_a_sound_export_has_no_finding(export):
    assert validate_export(export) == []


def assert_found(findings, pattern):
    assert any(re.search(pattern, finding) for finding in findings), findings


@pytest.mark.parametrize("fault", ARRAY_FAULTS)
def test_a_faulty_tile_is_found_behind_an_honest_manifest(export, fault):
    name, change, pattern = ARRAY_FAULTS[fault]

    change_array(export, name, change)
    reseal(export)

    assert_found(validate_export(export), pattern)


@pytest.mark.parametrize("fault", ZARR_FAULTS)
def test_a_faulty_pixel_or_coordinate_of_the_store_is_found(export, fault):
    name, index, value, pattern = ZARR_FAULTS[fault]

    change_zarr(export, name, index, value)
    reseal(export)

    assert_found(validate_export(export), pattern)


@pytest.mark.parametrize("fault", ATTRIBUTE_FAULTS)
def test_a_faulty_attribute_of_the_store_is_found(export, fault):
    group, name, value, pattern = ATTRIBUTE_FAULTS[fault]

    change_attribute(export, group, name, value)
    reseal(export)

    assert_found(validate_export(export), pattern)


@pytest.mark.parametrize(
    "name",
    [EAST, EAST_SCALES, "npy/west/2022/west_grid.json", "preview.png",
     f"{ZARR}/utm31/embeddings/c/1/0/0/0", f"{ZARR}/utm36/zarr.json"],
)  # fmt: skip
def test_one_flipped_byte_is_found_and_named(export, name):
    content = bytearray((export / name).read_bytes())
    content[len(content) // 2] ^= 1
    (export / name).write_bytes(bytes(content))

    assert f"{name}: content differs from its manifest" in validate_export(export)


def test_a_tile_turned_upside_down_with_its_scales_is_found(export):
    change_array(export, EAST, lambda codes: codes[::-1])
    change_array(export, EAST_SCALES, lambda scales: scales[::-1])
    reseal(export)

    assert_found(validate_export(export), "pixels differ from NPY tile east/2022")


def test_pickled_objects_are_never_loaded(export):
    np.save(export / EAST, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    reseal(export)

    assert_found(validate_export(export), r"cannot read npy/east/2022/east\.npy: .*Python objects")


def test_a_tile_that_says_it_lies_elsewhere_is_found(export):
    change_json(
        export, "npy/west/2022/west_grid.json", lambda grid: grid["transform"].__setitem__(2, 0.0)
    )
    reseal(export)

    assert_found(validate_export(export), r"west_grid\.json: holds .* expected .*500000\.0")


def test_a_missing_file_and_a_stray_one_are_found(export):
    (export / EAST).unlink()
    (export / "notes.txt").write_text("hello")

    findings = validate_export(export)

    assert f"{EAST}: missing" in findings
    assert "notes.txt: not in the manifest" in findings


def test_a_tile_that_the_facts_do_not_name_is_found(export):
    tiles = Manifest.read(export).facts["tiles"]
    reseal(export, tiles=tiles[1:])

    findings = validate_export(export)

    assert "npy/east/2021/east.npy: belongs to no tile of manifest.json" in findings
    assert_found(findings, r"num_pixels \d+, but its tiles add up to")
    assert_found(findings, r"years \[2021, 2022\], but its tiles are of \[2022\]")


def test_a_store_without_consolidated_metadata_is_found(export):
    change_json(export, f"{ZARR}/zarr.json", lambda root: root.pop("consolidated_metadata"))
    reseal(export)

    assert_found(validate_export(export), "no consolidated metadata .* clients cannot open")


def test_consolidated_metadata_that_fell_behind_is_found(export):
    zarr.open_group(export / ZARR / "utm31", mode="r+").attrs["note"] = "later"
    reseal(export)

    assert_found(validate_export(export), "consolidated metadata of utm31 is not that of utm31")


def test_a_fill_value_that_would_look_like_data_is_found(export):
    change_json(export, f"{ZARR}/utm31/scales/zarr.json", lambda meta: meta.update(fill_value=0.0))
    consolidate(export / ZARR)
    reseal(export)

    assert_found(validate_export(export), "utm31/scales: fill value 0.0, expected Infinity")


def test_a_missing_zone_and_a_stray_one_are_found(export):
    shutil.move(export / ZARR / "utm36", export / ZARR / "utm37")
    consolidate(export / ZARR)
    reseal(export)

    findings = validate_export(export)

    assert f"{ZARR}/utm36: missing" in findings
    assert f"{ZARR}/utm37: unexpected group" in findings


def test_a_shard_that_cannot_be_decoded_is_found_not_raised(export):
    shard = export / ZARR / "utm36/scales/c/1/0/0"
    shard.write_bytes(shard.read_bytes()[:-7])
    reseal(export)

    assert_found(validate_export(export), "utm36: south/2022 cannot be read")


def test_a_folder_that_is_no_export_is_said_to_be_none(tmp_path):
    write_manifest(tmp_path, "shards", {})

    assert validate_export(tmp_path / "nowhere")[0].startswith("cannot read")
    assert_found(validate_export(tmp_path), "of kind 'shards' and lacks")


def test_where_tiles_overlap_the_store_must_hold_the_first_one(make_export):
    moved = replace(GRIDS["east", 2022], west=500150.0)
    folder, _ = make_export({("east", 2022): moved, ("west", 2022): GRIDS["west", 2022]})
    sound = validate_export(folder)

    # Zone pixel (8, 20) lies in both tiles and has data in both; east comes first.
    west = np.load(folder / "npy/west/2022/west.npy")
    change_zarr(folder, "utm31/embeddings", (0, slice(None), 8, 20), west[8, 20])
    reseal(folder)

    assert sound == []
    assert_found(validate_export(folder), "1 pixels differ from NPY tile east/2022")
