"""The strict validator: reads an export back and says everything that is wrong with it.

Clients accept almost anything (interop.md 7: other shapes, floats, absurd scales, flipped
rows), so a store that opens proves little.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tessera_core.domain.embedding import CODE_MAX
from tessera_core.errors import RecordError
from tessera_core.export.preview import PREVIEW_NAME
from tessera_core.export.tiles import (
    EXPORT_KIND,
    NPY_FOLDER,
    ExportedTile,
    grid_record,
    open_array,
    tile_files,
)
from tessera_core.export.validate_store import check_store
from tessera_core.export.zones import zones_of
from tessera_core.records.files import read_json
from tessera_core.records.manifest import Manifest, find_differences

SCALE_LIMIT: Final = 1.0
"""Scales lie in (0, 1), as in the field's stores (median 0.064, interop.md 6). Our encoder ends
in a norm without weights, so |v| < sqrt(dimension) and no scale reaches sqrt(128) / 127 = 0.09."""

REQUIRED_FACTS: Final = (
    "model_name", "version", "model_digest", "samples_digest", "settings", "dimensions",
    "years", "num_pixels", "tiles",
)  # fmt: skip


def validate_export(folder: Path) -> list[str]:
    """Return one line per fault of an export, each naming the file; empty when it is sound.

    Reads every byte, one tile or shard in memory at a time. Checked are: the manifest against
    the files; types, shapes, codes within -127..127 that use the whole range, scales within
    (0, 1) or NaN where codes are 0; grids; the Zarr store's metadata, conventions and
    coordinates; and that store and NPY tiles agree pixel by pixel.

    Args:
        folder: A published export, or one about to be.
    """
    try:
        manifest = Manifest.read(folder)
        tiles = _stated_tiles(manifest)
    except RecordError as error:
        return [str(error)]
    facts = manifest.facts
    findings = [line.replace(f"{folder}/", "") for line in find_differences(folder, manifest)]
    findings += _check_facts(manifest, tiles)
    sound = []
    for tile in tqdm(tiles, desc="validate tiles", leave=False, disable=None):
        faults = _check_tile(folder, tile, int(facts["dimensions"]))
        findings += faults
        if not faults:
            sound.append(tile)
    zones = zones_of(tiles)
    return findings + check_store(folder, zones, facts, {tile.label for tile in sound})


def _stated_tiles(manifest: Manifest) -> list[ExportedTile]:
    """Return the tiles that the facts name; raises RecordError when a fact is missing."""
    missing = [name for name in REQUIRED_FACTS if name not in manifest.facts]
    if manifest.kind != EXPORT_KIND or missing:
        raise RecordError(
            f"manifest.json is of kind {manifest.kind!r} and lacks {missing}; "
            "expected an export with all its facts"
        )
    return [ExportedTile.from_dict(entry) for entry in manifest.facts["tiles"]]


def _check_facts(manifest: Manifest, tiles: Sequence[ExportedTile]) -> list[str]:
    """Check the facts against each other and against the list of files."""
    facts, findings = manifest.facts, []
    if not tiles:
        findings.append("manifest.json: names no tile")
    labels = [tile.label for tile in tiles]
    if labels != sorted(set(labels)):
        findings.append("manifest.json: tiles are not in order or appear twice")
    years = sorted({tile.year for tile in tiles})
    if facts["years"] != years:
        findings.append(f"manifest.json: years {facts['years']}, but its tiles are of {years}")
    total = sum(tile.num_pixels for tile in tiles)
    if facts["num_pixels"] != total:
        findings.append(
            f"manifest.json: num_pixels {facts['num_pixels']}, but its tiles add up to {total}"
        )
    listed = {entry.path for entry in manifest.files}
    base = Path()
    expected = {
        path.as_posix()
        for tile in tiles
        for files in [tile_files(base, tile.name, tile.year)]
        for path in (files.codes, files.scales, files.grid)
    }
    stored = {path for path in listed if path.startswith(f"{NPY_FOLDER}/")}
    findings += [f"{path}: belongs to no tile of manifest.json" for path in stored - expected]
    findings += [f"{path}: not in manifest.json" for path in expected - stored]
    if PREVIEW_NAME not in listed:
        findings.append(f"{PREVIEW_NAME}: not in manifest.json")
    return sorted(findings)


def _check_tile(folder: Path, tile: ExportedTile, dimensions: int) -> list[str]:
    """Check one tile's three files."""
    files = tile_files(folder, tile.name, tile.year)
    codes_name, scales_name, grid_name = (
        path.relative_to(folder).as_posix() for path in (files.codes, files.scales, files.grid)
    )
    findings = []
    try:
        codes, scales = open_array(files.codes), open_array(files.scales)
        stored_grid = read_json(files.grid)
    except RecordError as error:
        return [str(error).replace(f"{folder}/", "")]
    expected_grid = grid_record(tile.name, tile.year, tile.grid)
    if stored_grid != expected_grid:
        findings.append(f"{grid_name}: holds {stored_grid}, expected {expected_grid}")
    shape = (tile.grid.height, tile.grid.width)
    for name, array, dtype, wanted in (
        (codes_name, codes, np.int8, (*shape, dimensions)),
        (scales_name, scales, np.float32, shape),
    ):
        if array.dtype != dtype or array.shape != wanted:
            findings.append(
                f"{name}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {wanted}"
            )
    if findings:
        return findings
    faults = [f"{codes_name}: {fault}" for fault in _faults_of_codes(codes, scales)]
    faults += [f"{scales_name}: {fault}" for fault in _faults_of_scales(scales)]
    num_pixels = int(np.isfinite(scales).sum())
    if num_pixels != tile.num_pixels:
        faults.append(
            f"{scales_name}: {num_pixels} pixels have data, manifest.json says {tile.num_pixels}"
        )
    return faults


def _faults_of_codes(codes: npt.NDArray[Any], scales: npt.NDArray[Any]) -> list[str]:
    lowest, highest = codes.min(axis=-1).astype(np.int16), codes.max(axis=-1).astype(np.int16)
    has_data = np.isfinite(scales)
    faults = []
    if (lowest < -CODE_MAX).any():
        faults.append(f"{int((lowest < -CODE_MAX).sum())} pixels hold code -128")
    reach = np.maximum(highest, -lowest)
    # The scale is the largest value / 127, so each vector has a code of magnitude 127.
    unused = has_data & (reach < CODE_MAX)
    if unused.any():
        faults.append(
            f"{int(unused.sum())} pixels do not reach code {CODE_MAX}: their scale is not theirs"
        )
    filled = ~has_data & (reach != 0)
    if filled.any():
        faults.append(f"{int(filled.sum())} pixels have codes but no scale; expected codes of 0")
    return faults


def _faults_of_scales(scales: npt.NDArray[Any]) -> list[str]:
    faults = []
    if np.isinf(scales).any():
        faults.append(f"{int(np.isinf(scales).sum())} scales are infinite; no data is NaN")
    known = scales[np.isfinite(scales)]
    outside = (known <= 0) | (known >= SCALE_LIMIT)
    if outside.any():
        faults.append(
            f"{int(outside.sum())} scales are outside (0, {SCALE_LIMIT:g}), "
            f"as {float(known[outside][0]):g}"
        )
    return faults
