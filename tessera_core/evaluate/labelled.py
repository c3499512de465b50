"""The d-pixels that tasks score: gathered over all tiles, capped by field, embedded once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels, concatenate
from tessera_core.domain.grid import TileGrid, block_ids
from tessera_core.errors import RecordError
from tessera_core.evaluate.config import EvaluateConfig
from tessera_core.records.files import FileDigest, digest_json
from tessera_core.records.labels import (
    UNLABELLED,
    Labels,
    label_folders,
    label_sources,
    read_labels,
)
from tessera_core.records.paths import Paths
from tessera_core.records.samples import TileSamples, list_tiles, read_tile
from tessera_core.records.selection_fields import selection_fields, without_fields

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.model.embed import ModelArtifact

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK_SIZE_M: Final = 160
"""Edge of the blocks that stand in for fields where there are none."""

EMBED_BATCH: Final = 256
MAX_MAPPED_PIXELS: Final = 250_000
"""Tiles beyond this many d-pixels are not drawn, so only their labelled ones are embedded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """N d-pixels with ground truth for one task."""

    tile: npt.NDArray[np.str_]
    """(N,), tile name."""

    year: npt.NDArray[np.int32]
    """(N,), calendar year."""

    row: npt.NDArray[np.int32]
    """(N,), pixel row in the tile."""

    column: npt.NDArray[np.int32]
    """(N,), pixel column in the tile."""

    truth: Floats
    """(N,), class code or metres."""

    group: Ints
    """(N,), what goes whole to one side of a split: field id, or block where there is none."""

    key: Floats
    """(N,), 0..1, random; the d-pixels with the smallest keys of a field are used."""

    embedding: npt.NDArray[np.float32]
    """(N, D), of the trained encoder; a row of NaN where there was nothing to embed."""

    pixels: DPixels
    """The observations."""

    def __len__(self) -> int:
        """Return the number of d-pixels."""
        return len(self.truth)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Self:
        """Return some d-pixels, in that order."""
        return type(self)(
            tile=self.tile[rows],
            year=self.year[rows],
            row=self.row[rows],
            column=self.column[rows],
            truth=self.truth[rows],
            group=self.group[rows],
            key=self.key[rows],
            embedding=self.embedding[rows],
            pixels=self.pixels.take(rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedTile:
    """All embeddings of one tile, for the map."""

    year: int
    """Calendar year."""

    grid: TileGrid
    """Where the pixels lie."""

    row: npt.NDArray[np.int32]
    """(N,), pixel row in the grid."""

    column: npt.NDArray[np.int32]
    """(N,), pixel column in the grid."""

    embedding: npt.NDArray[np.float32]
    """(N, D), NaN rows where there was nothing to embed."""

    crop_type: Ints
    """(N,), class code, 0 = unlabelled."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gathered:
    """Everything that evaluation needs of the samples."""

    crops: Labelled
    """D-pixels with a crop code."""

    heights: Labelled
    """D-pixels with a canopy height."""

    tiles: tuple[MappedTile, ...]
    """What the map shows."""

    labels_digest: str
    """Identity of all labels at all d-pixels: equal for two models scored on the same truth."""


def label_files(config: "PlatformConfig", paths: Paths) -> tuple[FileDigest, ...]:
    """Return the digests of the label rasters and legends."""
    return label_sources(label_places(config, paths), paths.root)


def label_places(config: "PlatformConfig", paths: Paths) -> list[Path]:
    """Return the folders that hold label rasters."""
    ingest = config.ingest
    return label_folders(paths.root, config.evaluate.labels, ingest.source, ingest.path)


def gather(config: "PlatformConfig", paths: Paths, artifact: "ModelArtifact") -> Gathered:
    """Read all tiles with their labels and embed them.

    Raises:
        RecordError: There are no samples.
    """
    from tqdm import tqdm

    from tessera_core.model.embed import embed_pixels

    folders = list_tiles(paths.samples)
    if not folders:
        raise RecordError(f"no samples in {paths.samples}; run `tessera ingest` first")
    sources = label_places(config, paths)
    selected = selection_fields(sources)
    crops: list[Labelled] = []
    heights: list[Labelled] = []
    mapped: list[MappedTile] = []
    digests, num_mapped = [], 0
    for folder in tqdm(folders, desc="embed tiles", leave=False, disable=None):
        tile = read_tile(folder)
        truth = _read_truth(tile, sources, selected, config.evaluate)
        digests.append(_digest_labels(tile, truth.labels))
        is_mapped = num_mapped + len(tile) <= MAX_MAPPED_PIXELS
        if is_mapped:
            embedding = embed_pixels(artifact, tile.pixels, batch_size=EMBED_BATCH)
        else:
            rows, width = truth.all_rows, artifact.config.output.dim
            embedding = np.full((len(tile), width), np.nan, np.float32)
            few = tile.pixels.take(rows)
            embedding[rows] = embed_pixels(artifact, few, batch_size=EMBED_BATCH)
        labels = truth.labels
        crops.append(
            _part(tile, truth.crop_rows, labels.crop_type, truth.field, truth.key, embedding)
        )
        heights.append(
            _part(
                tile, truth.height_rows, labels.canopy_height_m, truth.block, truth.key, embedding
            )
        )
        if is_mapped:
            num_mapped += len(tile)
            mapped.append(_map_tile(tile, embedding, labels.crop_type))
    files = sorted(file.sha256 for file in label_sources(sources, paths.root))
    cap = config.evaluate.max_pixels_per_field
    return Gathered(
        crops=_join(crops, cap),
        heights=_join(heights, cap),
        tiles=tuple(mapped),
        labels_digest=digest_json({"files": files, "tiles": digests}),
    )


def smallest_keys(group: Ints, key: Floats, num_per_group: int) -> Ints:
    """Return the rows with the smallest keys of each group, in row order.

    With random keys this is a uniform draw from each group, and drawing from draws of parts
    equals drawing from the whole: fields may span tiles that are read one by one.
    """
    order = np.lexsort((key, group))
    ordered = group[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    position = np.arange(len(ordered))
    rank = position - np.maximum.accumulate(np.where(is_first, position, 0))
    return np.sort(order[rank < num_per_group])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Truth:
    """Ground truth of one tile and which of its d-pixels may be used; arrays over the tile."""

    labels: Labels
    field: Ints
    block: Ints
    key: Floats
    crop_rows: Ints
    height_rows: Ints

    @property
    def all_rows(self) -> Ints:
        return np.union1d(self.crop_rows, self.height_rows)


def _read_truth(
    tile: TileSamples, sources: list[Path], selected: Ints, settings: EvaluateConfig
) -> _Truth:
    epsg = np.full(len(tile), tile.grid.epsg, np.int32)
    # Fields that choose among encoders are none of a report's business.
    labels = without_fields(read_labels(sources, epsg, tile.x, tile.y), selected)
    block = block_ids(epsg, tile.x, tile.y, BLOCK_SIZE_M)
    # Negative: a block is never taken for a field of the same number.
    field = np.where(labels.parcel > 0, labels.parcel, -1 - block)
    key = _random_keys(tile, settings.seed)
    cap = settings.max_pixels_per_field
    crop_rows = np.flatnonzero(labels.crop_type != UNLABELLED)
    height_rows = np.flatnonzero(np.isfinite(labels.canopy_height_m))
    return _Truth(
        labels=labels,
        field=field,
        block=block,
        key=key,
        crop_rows=crop_rows[smallest_keys(field[crop_rows], key[crop_rows], cap)],
        height_rows=height_rows[smallest_keys(block[height_rows], key[height_rows], cap)],
    )


def _map_tile(tile: TileSamples, embedding: npt.NDArray[np.float32], crop_type: Ints) -> MappedTile:
    return MappedTile(
        year=tile.year,
        grid=tile.grid,
        row=tile.row,
        column=tile.column,
        embedding=embedding,
        crop_type=crop_type,
    )


def _random_keys(tile: TileSamples, seed: int) -> Floats:
    """Return a random number per pixel that depends on no other tile."""
    name = hashlib.sha256(f"{tile.name}/{tile.year}".encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(name[:8], "big")])
    return rng.random(len(tile))


def _digest_labels(tile: TileSamples, labels: Labels) -> str:
    height = np.where(np.isnan(labels.canopy_height_m), -1.0, labels.canopy_height_m)
    content = hashlib.sha256(f"{tile.name}/{tile.year}".encode())
    for values in (tile.row, tile.column, labels.crop_type, labels.parcel, height):
        content.update(np.ascontiguousarray(values).tobytes())
    return content.hexdigest()


def _part(
    tile: TileSamples,
    rows: Ints,
    truth: npt.NDArray[Any],
    group: Ints,
    key: Floats,
    embedding: npt.NDArray[np.float32],
) -> Labelled:
    return Labelled(
        tile=np.full(len(rows), tile.name),
        year=np.full(len(rows), tile.year, np.int32),
        row=tile.row[rows],
        column=tile.column[rows],
        truth=truth[rows].astype(np.float64),
        group=group[rows],
        key=key[rows],
        embedding=embedding[rows],
        pixels=tile.pixels.take(rows),
    )


def _join(parts: Sequence[Labelled], num_per_group: int) -> Labelled:
    """Return all parts as one, each field capped again, without d-pixels that have no data."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("tile", "year", "row", "column", "truth", "group", "key", "embedding")
    }
    joined = Labelled(**arrays, pixels=concatenate([part.pixels for part in parts]))
    has_data = np.flatnonzero(np.isfinite(joined.embedding).all(axis=1))
    kept = has_data[smallest_keys(joined.group[has_data], joined.key[has_data], num_per_group)]
    return joined.take(kept)
