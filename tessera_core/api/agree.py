"""How far two models, or two exports, agree at the same places."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tessera_core.api.sample import read_tiles
from tessera_core.benchmarks.units import BLOCK_SIZE_M
from tessera_core.compare.bridge.verdict import Bridge, build_bridge
from tessera_core.domain.dpixel import concatenate
from tessera_core.domain.embedding import Embedding
from tessera_core.domain.geometry import Floats, Ints, Values, draw_groups
from tessera_core.domain.grid import block_ids
from tessera_core.errors import InputError
from tessera_core.export.tiles import ExportedTile, open_array, tile_files
from tessera_core.records.samples import TileSamples

if TYPE_CHECKING:
    from tessera_core.model.embed import ModelArtifact

MAX_PIXELS: Final = 4096
"""Pixels that two exports are compared on, an equal share of each tile, drawn by block."""


def agreement(
    old: "ModelArtifact | str | Path",
    new: "ModelArtifact | str | Path",
    *,
    samples: Sequence[TileSamples] = (),
    seed: int = 17,
) -> Bridge:
    """Compare two models on samples, or two exports where they overlap.

    Args:
        old: A model from ``load``, or the folder of an export.
        new: Of the same kind.
        samples: From ``open_samples``; what two models embed. They should not have trained on it.
        seed: Draws pixels and deals blocks of 160 m to folds.

    Returns:
        Verdict (compatible, bridgeable, incompatible) with its reason, the error that is left,
        CKA and shared neighbours, and the map from ``new`` to ``old`` where there is one.

    Raises:
        InputError: One is a model and the other an export, nothing is shared, or too few pixels
            or blocks are.
        RecordError: A folder is no export.
    """
    if isinstance(old, (str, Path)) and isinstance(new, (str, Path)):
        return _of_exports(Path(old), Path(new), seed)
    if isinstance(old, (str, Path)) or isinstance(new, (str, Path)):
        raise InputError("a model and an export do not compare; `load` both, or name two exports")
    if not samples:
        raise InputError("two models are compared on samples; give those of `open_samples`")
    from tessera_core.compare.bridge.compare import compare_models

    pixels = concatenate([tile.pixels for tile in samples])
    blocks = np.concatenate([_blocks(tile.grid.epsg, tile.x, tile.y) for tile in samples])
    return compare_models(old, new, pixels, blocks, None, seed)[1]


def _of_exports(old: Path, new: Path, seed: int) -> Bridge:
    tiles = {tile.label: tile for tile in read_tiles(old)[0]}
    shared = [each for each in read_tiles(new)[0]
              if each.label in tiles and tiles[each.label].grid == each.grid]  # fmt: skip
    if not shared:
        raise InputError(f"{old} and {new} share no tile of one name, year and grid")
    limit = -(-MAX_PIXELS // len(shared))
    parts = [_shared_pixels(tile, (old, new), limit, seed) for tile in shared]
    old_values, new_values, blocks = (np.concatenate(each) for each in zip(*parts, strict=True))
    return build_bridge(old_values, new_values, blocks, None, seed)


def _shared_pixels(
    tile: ExportedTile, exports: tuple[Path, Path], limit: int, seed: int
) -> tuple[Values, Values, Ints]:
    """Return values (P, D) of both exports and block (P,) of at most ``limit`` pixels."""
    files = [tile_files(folder, tile.name, tile.year) for folder in exports]
    codes = [open_array(each.codes) for each in files]
    scales = [open_array(each.scales) for each in files]
    rows, columns = np.nonzero(np.isfinite(scales[0]) & np.isfinite(scales[1]))
    x, y = tile.grid.centres()
    blocks = _blocks(tile.grid.epsg, x[columns], y[rows])
    drawn = draw_groups(blocks, limit, seed)
    at = rows[drawn], columns[drawn]
    first, second = (
        Embedding(codes=code[at], scale=scale[at]).dequantise()
        for code, scale in zip(codes, scales, strict=True)
    )
    return first, second, blocks[drawn]


def _blocks(epsg: int, x: Floats, y: Floats) -> Ints:
    return block_ids(np.full(len(x), epsg, np.int32), x, y, BLOCK_SIZE_M)
