"""One TESSERA tile directory to embeddings beside it, without a checkout's samples or lineage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.embedding import Embedding, quantise
from tessera_core.domain.tile import OpticalSeries, RadarSeries, take_pixels
from tessera_core.errors import SceneError
from tessera_core.export.claim import claim, require_unmixed
from tessera_core.ingest.sources.tiles import read_inside, read_series
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.records.arrays import write_array
from tessera_core.records.files import atomic_file, storage_errors

BATCH_SIZE: Final = 1024
BLOCK: Final = 65_536
"""Pixels that are turned into d-pixels at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """How to embed."""

    dim: int | None = None
    """One of the model's usable widths, or None for the published one."""

    seed: int = 0
    """Decides what a random sampling rule draws."""

    repeats: int = 1
    """Draws to average, for a random sampling rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedTile:
    """What was written for one tile."""

    values: Path
    """(row, column, dimension), int8 codes or float32 values; 0 where there is no data."""

    scales: Path
    """(row, column) float32 scales of the int8 codes; NaN where there is no data."""

    shape: tuple[int, int]
    """Rows and columns."""

    num_embedded: int
    """Pixels with an embedding."""


def embed_directory(
    tile: Path, out: Path, artifact: ModelArtifact, how: Inference, *, as_float: bool
) -> EmbeddedTile:
    """Embed every pixel of a tile directory and write two NPY files named after it.

    The folder's ``model.json`` says whose embeddings it holds; those of another model are refused.

    Args:
        tile: Directory of arrays (method.md 1.2).
        out: Folder to write to; made when missing.
        artifact: The model.
        how: Width and draws.
        as_float: Write float32 values in the place of int8 codes.

    Raises:
        SceneError: An array is missing, unreadable, or of the wrong shape, type or range.
        ArtifactError: The model cannot be cut to the width.
        RecordError: The folder holds embeddings of another model, or is a published export.
    """
    artifact.config.output.require(how.dim)
    if out.resolve() == tile.resolve():
        raise SceneError(
            f"{out} is the tile itself, whose arrays could be overwritten; name another"
        )
    # Before hours of work; and again when the first tile is there to be written.
    require_unmixed(out, artifact.digest)
    values = _embed(tile, artifact, how)
    coded = quantise(values, artifact.config.output.coding)
    name = tile.resolve().name
    files = EmbeddedTile(
        values=out / f"{name}.npy",
        scales=out / f"{name}_scales.npy",
        shape=(values.shape[0], values.shape[1]),
        num_embedded=int(np.isfinite(coded.scale).sum()),
    )
    with storage_errors(files.values):
        out.mkdir(parents=True, exist_ok=True)
    claim(out, artifact.digest)
    _write(files, np.nan_to_num(values, nan=0.0) if as_float else coded.codes, coded)
    return files


def _embed(tile: Path, artifact: ModelArtifact, how: Inference) -> npt.NDArray[np.float32]:
    """Return (row, column, dimension), NaN where there is no data."""
    optical, ascending, descending = read_series(tile)
    height, width = optical.reflectance.shape[1:3]
    for orbit, radar in (("ascending", ascending), ("descending", descending)):
        covered = radar.backscatter_scaled_db.shape[1:3]
        if covered != (height, width):
            raise SceneError(
                f"{tile}: S1 {orbit} covers {covered} (rows, columns), but S2 covers "
                f"{(height, width)}; stack both on one grid"
            )
    series = (optical, ascending, descending)
    return embed_series(series, read_inside(tile, (height, width)), artifact, how, label=tile.name)


def embed_series(
    series: tuple[OpticalSeries, RadarSeries, RadarSeries],
    inside: npt.NDArray[np.bool_],
    artifact: ModelArtifact,
    how: Inference,
    *,
    label: str,
) -> npt.NDArray[np.float32]:
    """Return embeddings (row, column, dimension), NaN outside and where there is no data.

    Args:
        series: Optical, ascending and descending observations on one grid.
        inside: (row, column), which pixels to embed.
        artifact: The model.
        how: Width and draws.
        label: Of the progress bar.

    Raises:
        ArtifactError: The model cannot be cut to the width.
    """
    rows, columns = np.nonzero(inside)
    dim = artifact.config.output.require(how.dim)
    values = np.full((*inside.shape, dim), np.nan, np.float32)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        pixels = take_pixels(*series, rows[block], columns[block])
        values[rows[block], columns[block]] = embed_pixels(
            artifact,
            pixels,
            batch_size=BATCH_SIZE,
            dim=dim,
            seed=how.seed,
            repeats=how.repeats,
            progress=label,
        )
    return values


def _write(
    files: EmbeddedTile, values: npt.NDArray[np.int8] | npt.NDArray[np.float32], coded: Embedding
) -> None:
    """Write both files or neither: names are given once both are complete."""
    with atomic_file(files.values) as first, atomic_file(files.scales) as second:
        write_array(first, values)
        write_array(second, coded.scale)
