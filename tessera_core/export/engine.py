"""Samples of one tile to int8 embeddings on its grid."""

from pathlib import Path

import numpy as np

from tessera_core.domain.embedding import Embedding, quantise
from tessera_core.export.tiles import ExportedTile, save_tile
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.records.samples import read_tile


def export_tile(
    partition: Path, *, artifact: ModelArtifact, export: Path, batch_size: int
) -> ExportedTile:
    """Embed one partition of the samples and store it as NPY.

    Pixels outside the region of interest, and those without any valid observation, get code 0
    and scale NaN.

    Args:
        partition: Folder of one tile and year, as ``list_tiles`` gives it.
        artifact: The champion.
        export: Folder of the export being built.
        batch_size: D-pixels per forward pass.
    """
    tile = read_tile(partition)
    values = embed_pixels(artifact, tile.pixels, batch_size=batch_size)
    found = quantise(values, artifact.config.output.coding)
    shape = (tile.grid.height, tile.grid.width)
    codes = np.zeros((*shape, values.shape[1]), np.int8)
    scale = np.full(shape, np.nan, np.float32)
    codes[tile.row, tile.column] = found.codes
    scale[tile.row, tile.column] = found.scale
    return save_tile(export, tile.name, tile.year, tile.grid, Embedding(codes=codes, scale=scale))
