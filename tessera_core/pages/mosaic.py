"""Tiles side by side as one picture, and embeddings as colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.grid import TileGrid

if TYPE_CHECKING:
    from tessera_core.benchmarks.gather import MappedTile

Floats = npt.NDArray[np.float64]

MAX_EMPTINESS: Final = 4
"""Tiles that fill less than a quarter of their common extent are packed instead."""

NUM_COLOURS: Final = 3
STRETCH: Final = (2.0, 98.0)
"""Percentiles of a component that become its darkest and brightest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where each tile goes in the picture."""

    height: int
    """Rows of the picture."""

    width: int
    """Columns of the picture."""

    offsets: tuple[tuple[int, int], ...]
    """(row, column) of each tile's first pixel."""

    is_map: bool
    """True where neighbours in the picture are neighbours on the ground."""


def latest_year(tiles: "Sequence[MappedTile]") -> "list[MappedTile]":
    """Return the tiles of the latest year, one picture's worth."""
    newest = max(tile.year for tile in tiles)
    return [tile for tile in tiles if tile.year == newest]


def place_tiles(grids: Sequence[TileGrid]) -> Placement:
    """Place tiles by their grids, or pack them when they lie far apart or in several zones."""
    if len({grid.epsg for grid in grids}) == 1:
        size = TILE_RESOLUTION_M
        west = min(grid.west for grid in grids)
        north = max(grid.north for grid in grids)
        offsets = tuple(
            (round((north - grid.north) / size), round((grid.west - west) / size)) for grid in grids
        )
        height = max(top + grid.height for (top, _), grid in zip(offsets, grids, strict=True))
        width = max(left + grid.width for (_, left), grid in zip(offsets, grids, strict=True))
        covered = sum(grid.height * grid.width for grid in grids)
        if height * width <= MAX_EMPTINESS * covered:
            return Placement(height=height, width=width, offsets=offsets, is_map=True)
    return _pack(grids)


def paint(
    tiles: "Sequence[MappedTile]", placement: Placement, values: Sequence[npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Return a picture (row, column, ...) of per-pixel values; 0 where no tile is.

    Args:
        tiles: What to paint.
        placement: Where.
        values: One array (N, ...) per tile.
    """
    picture = np.zeros((placement.height, placement.width, *values[0].shape[1:]), values[0].dtype)
    for tile, (top, left), value in zip(tiles, placement.offsets, values, strict=True):
        picture[tile.row + top, tile.column + left] = value
    return picture


def embedding_colours(tiles: "Sequence[MappedTile]") -> tuple[list[Floats], float]:
    """Return red, green, blue and opacity (N, 4) per tile, and the variance they explain.

    The colours are the first three principal components over all tiles; d-pixels without data
    are transparent.
    """
    stacked = np.concatenate([tile.embedding for tile in tiles]).astype(np.float64)
    has_data = np.isfinite(stacked).all(axis=1)
    colours = np.zeros((len(stacked), NUM_COLOURS + 1))
    share = 0.0
    if has_data.sum() >= 2:
        components, share = principal_components(stacked[has_data])
        low, high = np.percentile(components, STRETCH, axis=0)
        spread = np.where(high > low, high - low, 1)
        colours[has_data, :NUM_COLOURS] = np.clip((components - low) / spread, 0, 1)
        colours[has_data, NUM_COLOURS] = 1
    ends = np.cumsum([len(tile.embedding) for tile in tiles])
    return np.split(colours, ends[:-1]), share


def principal_components(values: Floats) -> tuple[Floats, float]:
    """Return the first three principal components (N, 3) and the variance they explain, 0..1.

    Signs are fixed by the largest loading. Fewer columns than three leave zeros.
    """
    centred = values - values.mean(axis=0)
    variance, loadings = np.linalg.eigh(centred.T @ centred / len(values))
    loadings = loadings[:, ::-1][:, :NUM_COLOURS]
    largest = np.take_along_axis(loadings, np.abs(loadings).argmax(axis=0)[None], axis=0)
    components = np.zeros((len(values), NUM_COLOURS))
    components[:, : loadings.shape[1]] = centred @ (loadings * np.sign(largest))
    total = variance.sum()
    share = variance[::-1][:NUM_COLOURS].sum() / total if total > 0 else 0.0
    return components, float(share)


def _pack(grids: Sequence[TileGrid]) -> Placement:
    """Place tiles on a square sheet, with a gap of one pixel."""
    cell_height = 1 + max(grid.height for grid in grids)
    cell_width = 1 + max(grid.width for grid in grids)
    num_columns = int(np.ceil(np.sqrt(len(grids))))
    offsets = tuple(
        (number // num_columns * cell_height, number % num_columns * cell_width)
        for number in range(len(grids))
    )
    num_rows = -(-len(grids) // num_columns)
    return Placement(
        height=num_rows * cell_height,
        width=num_columns * cell_width,
        offsets=offsets,
        is_map=False,
    )
