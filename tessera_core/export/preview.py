"""A false-colour picture of an export: three principal components as red, green and blue."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tessera_core.domain.embedding import Embedding
from tessera_core.export.tiles import ExportedTile, TileFiles, open_array, tile_files
from tessera_core.export.zones import PlacedTile, Zone

PREVIEW_NAME: Final = "preview.png"
MAX_EDGE: Final = 2048
"""Longest edge of one panel in pixels; larger zones are thinned, not averaged."""

MAX_FIT_PIXELS: Final = 20_000
"""Embeddings that the components and the stretch are fitted on."""

STRETCH: Final = (2.0, 98.0)
"""Percentiles that become black and full colour: a few odd pixels must not grey the rest."""

GAP: Final = 4
"""Transparent pixels between panels."""

METADATA: Final = {"Software": "Tessera"}
NUM_COLOURS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColourMap:
    """How an embedding becomes a colour."""

    mean: npt.NDArray[np.float64]
    """(dimension,)"""

    components: npt.NDArray[np.float64]
    """(dimension, 3), orthonormal; columns of zeros where there are fewer dimensions."""

    low: npt.NDArray[np.float64]
    """(3,), scores that become 0."""

    high: npt.NDArray[np.float64]
    """(3,), scores that become 255; above ``low``."""

    def colours(
        self, codes: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.uint8]:
        """Return RGB (N, 3) of codes (N, dimension) with finite scales (N,)."""
        # Projecting the codes first needs a quarter of the memory of dequantising them.
        projected = codes.astype(np.float32) @ self.components.astype(np.float32)
        scores = projected * scale[:, None] - self.mean @ self.components
        share = np.clip((scores - self.low) / (self.high - self.low), 0, 1)
        return np.rint(share * 255).astype(np.uint8)


def write_preview(export: Path, zones: Sequence[Zone], years: Sequence[int]) -> None:
    """Write ``preview.png``: one panel per year and zone, years downwards, RGBA.

    Args:
        export: Folder of the export; its NPY tiles are read one at a time.
        zones: Grids of all zones.
        years: All years.
    """
    from matplotlib.image import imsave

    mapping = fit_colours(export, [placed.tile for zone in zones for placed in zone.tiles])
    panels = [
        _panel(export, zone, tiles, mapping)
        for year in years
        for zone in zones
        if (tiles := zone.of_year(year))
    ]
    # Without metadata of ours the library's version would be part of the file.
    imsave(export / PREVIEW_NAME, _stacked(panels), format="png", metadata=METADATA)


def fit_colours(export: Path, tiles: Sequence[ExportedTile]) -> ColourMap:
    """Fit components and stretch on an even sample of all embeddings.

    The sign of each component makes its largest loading positive, so that equal embeddings
    give equal colours.
    """
    total = sum(tile.num_pixels for tile in tiles)
    step = max(1, -(-total // MAX_FIT_PIXELS))
    parts, seen = [], 0
    for tile in tiles:
        files = tile_files(export, tile.name, tile.year)
        rows, columns = np.nonzero(np.isfinite(open_array(files.scales)))
        # The stride runs on across tiles, so that small tiles count too.
        chosen = slice(-seen % step, None, step)
        codes, scale = _pixels(files, rows[chosen], columns[chosen])
        parts.append(Embedding(codes=codes, scale=scale).dequantise())
        seen += len(rows)
    sample = np.concatenate(parts).astype(np.float64)
    num_dimensions = sample.shape[1]
    components = np.zeros((num_dimensions, NUM_COLOURS))
    mean = sample.mean(axis=0) if len(sample) else np.zeros(num_dimensions)
    _, vectors = np.linalg.eigh((sample - mean).T @ (sample - mean))
    leading = vectors[:, ::-1][:, :NUM_COLOURS]
    largest = np.abs(leading).argmax(axis=0)
    components[:, : leading.shape[1]] = leading * np.sign(
        leading[largest, np.arange(leading.shape[1])]
    )
    scores = (sample - mean) @ components if len(sample) else np.zeros((1, NUM_COLOURS))
    low, high = np.percentile(scores, STRETCH, axis=0)
    # A component without spread becomes mid-grey instead of a division by zero.
    flat = high - low < np.finfo(np.float32).eps
    return ColourMap(
        mean=mean,
        components=components,
        low=np.where(flat, low - 0.5, low),
        high=np.where(flat, low + 0.5, high),
    )


def _panel(
    export: Path, zone: Zone, tiles: Sequence[PlacedTile], mapping: ColourMap
) -> npt.NDArray[np.uint8]:
    """Return RGBA (row, column, 4) of one zone and year; transparent without data."""
    step = max(1, -(-max(zone.height, zone.width) // MAX_EDGE))
    shape = (-(-zone.height // step), -(-zone.width // step), NUM_COLOURS + 1)
    panel = np.zeros(shape, np.uint8)
    for placed in tqdm(tiles, desc=f"preview {zone.group}", leave=False, disable=None):
        files = tile_files(export, placed.tile.name, placed.tile.year)
        scales = open_array(files.scales)
        # Only zone rows and columns that are multiples of the step are drawn.
        first = (-placed.row % step, -placed.column % step)
        thinned = np.isfinite(scales[first[0] :: step, first[1] :: step])
        rows, columns = np.nonzero(thinned)
        own = (rows * step + first[0], columns * step + first[1])
        target = ((own[0] + placed.row) // step, (own[1] + placed.column) // step)
        panel[target] = np.column_stack(
            [mapping.colours(*_pixels(files, *own)), np.full(len(rows), 255, np.uint8)]
        )
    return panel


def _pixels(
    files: TileFiles, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return codes (N, dimension) and scales (N,) of some pixels of a tile."""
    return open_array(files.codes)[rows, columns], open_array(files.scales)[rows, columns]


def _stacked(panels: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return all panels below each other, left-aligned."""
    height = sum(len(panel) for panel in panels) + GAP * (len(panels) - 1)
    sheet = np.zeros((height, max(panel.shape[1] for panel in panels), NUM_COLOURS + 1), np.uint8)
    top = 0
    for panel in panels:
        sheet[top : top + len(panel), : panel.shape[1]] = panel
        top += len(panel) + GAP
    return sheet
