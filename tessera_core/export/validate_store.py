"""The Zarr half of the validator: metadata, conventions, coordinates, and pixels against NPY."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr
from tqdm import tqdm

from tessera_core.errors import RecordError
from tessera_core.export.store import (
    CODES,
    DIGEST_ATTRIBUTE,
    GEOEMB_CONVENTION,
    METADATA_NAME,
    SCALES,
    STORE_NAME,
)
from tessera_core.export.tiles import open_array, tile_files
from tessera_core.export.zones import PlacedTile, Zone, owned_pixels
from tessera_core.records.files import read_json

DIMENSION_NAMES: Final = {
    CODES: ["time", "band", "y", "x"],
    SCALES: ["time", "y", "x"],
    "time": ["time"],
    "band": ["band"],
    "y": ["y"],
    "x": ["x"],
}
FILL_VALUES: Final = {CODES: 0, SCALES: "Infinity"}
READ_FAULTS: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError, IndexError)
"""What zarr and its codecs raise for damaged bytes; the message becomes the finding."""


def check_store(
    folder: Path, zones: Sequence[Zone], facts: Mapping[str, Any], sound: set[str]
) -> list[str]:
    """Return the faults of an export's Zarr store.

    Args:
        folder: Folder of the export.
        zones: Grids that the manifest's tiles make.
        facts: Facts of the manifest.
        sound: Labels of the tiles whose NPY files can be compared with.
    """
    store = folder / STORE_NAME
    findings = _check_consolidated(store)
    try:
        root = read_json(store / METADATA_NAME)
    except RecordError as error:
        return [*findings, str(error).replace(f"{folder}/", "")]
    findings += _check_root(root, facts)
    groups = {path.parent.name for path in store.glob(f"*/{METADATA_NAME}")}
    expected = {zone.group for zone in zones}
    findings += [f"{STORE_NAME}/{name}: unexpected group" for name in sorted(groups - expected)]
    findings += [f"{STORE_NAME}/{name}: missing" for name in sorted(expected - groups)]
    for zone in zones:
        if zone.group in groups:
            faults = _check_layout(store / zone.group, zone, facts)
            # Pixels of a group with the wrong layout cannot be looked up.
            faults = faults or _check_pixels(folder, zone, facts, sound)
            findings += [f"{STORE_NAME}/{zone.group}{fault}" for fault in faults]
    return findings


def _check_consolidated(store: Path) -> list[str]:
    """Check that the root repeats the metadata of every member, as clients rely on."""
    where = f"{STORE_NAME}/{METADATA_NAME}"
    try:
        root = read_json(store / METADATA_NAME)
        copies = dict(root["consolidated_metadata"]["metadata"])
        own = {
            path.parent.relative_to(store).as_posix(): read_json(path)
            for path in sorted(store.rglob(METADATA_NAME))
            if path.parent != store
        }
    except (RecordError, KeyError, TypeError) as error:
        return [f"{where}: no consolidated metadata ({error}); clients cannot open the store"]
    for copy in copies.values():
        # The copy of a group says that it is consolidated too.
        if copy.get("node_type") == "group":
            copy.pop("consolidated_metadata", None)
    return [
        f"{where}: consolidated metadata of {name} is not that of {name}/{METADATA_NAME}"
        for name in sorted(own.keys() | copies.keys())
        if own.get(name) != copies.get(name)
    ]


def _check_root(root: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Check the ``geoemb:`` attributes against the manifest."""
    attributes = root.get("attributes", {})
    uuids = [entry.get("uuid") for entry in attributes.get("zarr_conventions", [])]
    quantisation = attributes.get("geoemb:quantization", {})
    checks: dict[str, tuple[Any, Any]] = {
        "zarr_format": (root.get("zarr_format"), 3),
        "zarr_conventions": (GEOEMB_CONVENTION["uuid"] in uuids, True),
        "geoemb:type": (attributes.get("geoemb:type"), "pixel"),
        "geoemb:dimensions": (attributes.get("geoemb:dimensions"), facts["dimensions"]),
        "geoemb:data_type": (attributes.get("geoemb:data_type"), "int8"),
        "geoemb:spatial_layout": (attributes.get("geoemb:spatial_layout"), "utm_zones"),
        "geoemb:model": (
            attributes.get("geoemb:model"),
            f"models:/{facts['model_name']}/{facts['version']}",
        ),
        "geoemb:quantization": (
            (quantisation.get("method"), quantisation.get("scale", {}).get("array_name")),
            ("per_pixel_scale", SCALES),
        ),
        DIGEST_ATTRIBUTE: (attributes.get(DIGEST_ATTRIBUTE), facts["model_digest"]),
        "tessera:samples_digest": (
            attributes.get("tessera:samples_digest"),
            facts["samples_digest"],
        ),
    }
    findings = [
        f"{STORE_NAME}: {name} is {found!r}, expected {wanted!r}"
        for name, (found, wanted) in checks.items()
        if found != wanted
    ]
    for name in ("geoemb:source_data", "geoemb:build_version"):
        if not attributes.get(name):
            findings.append(f"{STORE_NAME}: {name} is missing or empty")
    return findings


def _check_layout(group: Path, zone: Zone, facts: Mapping[str, Any]) -> list[str]:
    """Check attributes, array metadata and coordinates of one zone."""
    years, dimensions = facts["years"], facts["dimensions"]
    x, y = zone.centres()
    shapes = {
        CODES: ("int8", [len(years), dimensions, zone.height, zone.width]),
        SCALES: ("float32", [len(years), zone.height, zone.width]),
        "time": ("int32", [len(years)]),
        "band": ("int32", [dimensions]),
        "y": ("float64", [zone.height]),
        "x": ("float64", [zone.width]),
    }
    try:
        attributes = read_json(group / METADATA_NAME)["attributes"]
        arrays = {name: read_json(group / name / METADATA_NAME) for name in shapes}
    except (RecordError, KeyError, TypeError) as error:
        return [f": {str(error).replace(f'{group}/', '')}"]
    findings = []
    for name, wanted in (
        ("proj:code", f"EPSG:{zone.epsg}"),
        ("spatial:transform", zone.transform),
        ("spatial:shape", [zone.height, zone.width]),
        ("spatial:bbox", zone.bounds),
    ):
        if attributes.get(name) != wanted:
            findings.append(f": {name} is {attributes.get(name)}, expected {wanted}")
    for name, (dtype, shape) in shapes.items():
        stored = arrays[name]
        found = (stored.get("data_type"), stored.get("shape"), stored.get("dimension_names"))
        if found != (dtype, shape, DIMENSION_NAMES[name]):
            findings.append(f"/{name}: {found}, expected {(dtype, shape, DIMENSION_NAMES[name])}")
        if name in FILL_VALUES and stored.get("fill_value") != FILL_VALUES[name]:
            findings.append(
                f"/{name}: fill value {stored.get('fill_value')}, expected {FILL_VALUES[name]}"
            )
    axes = {"time": np.array(years), "band": np.arange(dimensions), "y": y, "x": x}
    return findings or _check_axes(group, axes)


def _check_axes(group: Path, axes: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    findings = []
    for name, wanted in axes.items():
        try:
            if not np.array_equal(_open(group / name)[:], wanted):
                findings.append(f"/{name}: coordinates are not those of the tiles")
        except READ_FAULTS as error:
            findings.append(f"/{name}: cannot be read: {error}")
    return findings


def _check_pixels(folder: Path, zone: Zone, facts: Mapping[str, Any], sound: set[str]) -> list[str]:
    """Compare the zone's pixels with the NPY tiles by index, and look for any others."""
    group = folder / STORE_NAME / zone.group
    codes, scales = _open(group / CODES), _open(group / SCALES)
    findings: list[str] = []
    num_owned = 0
    for time, year in enumerate(facts["years"]):
        tiles = zone.of_year(year)
        for index, placed in enumerate(
            tqdm(tiles, desc=f"validate {zone.group}", leave=False, disable=None)
        ):
            if placed.tile.label in sound:
                owned = owned_pixels(folder, tiles, index)
                num_owned += int(owned.sum())
                findings += _compare(folder, placed, owned, codes, scales, time)
    if any(placed.tile.label not in sound for placed in zone.tiles):
        # The number of pixels to expect is unknown, and its reason is a finding already.
        return findings
    return findings or _check_rest(codes, scales, _written_shards(group), num_owned)


def _compare(
    folder: Path,
    placed: PlacedTile,
    owned: npt.NDArray[np.bool_],
    codes: zarr.Array[Any],
    scales: zarr.Array[Any],
    time: int,
) -> list[str]:
    """Compare one tile's owned pixels with its window of the store, by index."""
    label = placed.tile.label
    files = tile_files(folder, placed.tile.name, placed.tile.year)
    rows, columns = placed.window
    try:
        stored_codes = np.asarray(codes[time, :, rows, columns])
        stored_scales = np.asarray(scales[time, rows, columns])
    except READ_FAULTS as error:
        return [f": {label} cannot be read: {error}"]
    differs = stored_scales != open_array(files.scales)
    differs |= (stored_codes != np.moveaxis(open_array(files.codes), -1, 0)).any(axis=0)
    differs &= owned
    if not differs.any():
        return []
    return [f": {int(differs.sum())} pixels differ from NPY tile {label}"]


def _written_shards(group: Path) -> list[tuple[int, int, int]]:
    """Return time, row and column of every shard on disk."""
    found = [path.relative_to(group / SCALES / "c") for path in group.glob(f"{SCALES}/c/*/*/*")]
    indices = {tuple(path.parts) for path in found}
    for path in group.glob(f"{CODES}/c/*/*/*/*"):
        time, _, row, column = path.relative_to(group / CODES / "c").parts
        indices.add((time, row, column))
    return sorted((int(time), int(row), int(column)) for time, row, column in indices)


def _check_rest(
    codes: zarr.Array[Any],
    scales: zarr.Array[Any],
    shards: Sequence[tuple[int, int, int]],
    num_owned: int,
) -> list[str]:
    """Check that nothing but the tiles' pixels has data, shard by shard."""
    _, num_rows, num_columns = scales.shards or scales.chunks
    num_known = num_water = num_stray = 0
    for time, i, j in tqdm(shards, desc="validate shards", leave=False, disable=None):
        rows = slice(i * num_rows, (i + 1) * num_rows)
        columns = slice(j * num_columns, (j + 1) * num_columns)
        try:
            scale = np.asarray(scales[time, rows, columns])
            filled = (np.asarray(codes[time, :, rows, columns]) != 0).any(axis=0)
        except READ_FAULTS as error:
            return [f": shard {time}/{i}/{j} cannot be read: {error}"]
        known = np.isfinite(scale)
        num_known += int(known.sum())
        num_water += int((~known & (scale != np.inf)).sum())
        num_stray += int((filled & ~known).sum())
    findings = []
    if num_known != num_owned:
        findings.append(f"/{SCALES}: {num_known} pixels have data, the NPY tiles give {num_owned}")
    if num_water:
        findings.append(f"/{SCALES}: {num_water} pixels without data are not +inf")
    if num_stray:
        findings.append(f"/{CODES}: {num_stray} pixels have codes but no scale")
    return findings


def _open(path: Path) -> zarr.Array[Any]:
    array: zarr.Array[Any] = zarr.open_array(path, mode="r", zarr_format=3)
    return array
