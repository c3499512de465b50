"""The examples of all tasks, gathered source by source; every d-pixel is embedded once."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.examples import Examples, join
from tessera_core.benchmarks.sources import Part, read_parts
from tessera_core.benchmarks.units import (
    Draft,
    draft_units,
    examples_of,
    read_truth,
    smallest_keys,
)
from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scores import Kind
from tessera_core.errors import AbsentDataError, InputError
from tessera_core.records.benchmarks import Benchmark, DataSource, Source
from tessera_core.records.files import digest_json
from tessera_core.records.labels import label_folders, read_legend

if TYPE_CHECKING:
    from tessera_core.benchmarks.config import EvaluateConfig
    from tessera_core.config import PlatformConfig
    from tessera_core.records.paths import Paths

MAX_MAPPED_PIXELS: Final = 250_000
"""Tiles beyond this many d-pixels are not drawn, so only their labelled ones are embedded."""

EMBED_BATCH: Final = 256

Embed = Callable[[DPixels], npt.NDArray[np.float32]]
"""N d-pixels -> embeddings (N, D)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedTile:
    """All embeddings of one tile of the run's own samples, for the map."""

    name: str
    """Name of the tile."""

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

    crop_type: npt.NDArray[np.int64]
    """(N,), class code of the first classification, 0 = unlabelled."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gathered:
    """Everything that evaluation needs."""

    examples: Mapping[str, Examples]
    """By benchmark; without entry where the data is absent."""

    absent: Mapping[str, str]
    """Benchmark -> why there is no data."""

    legends: Mapping[str, Mapping[int, str]]
    """Benchmark -> names by code."""

    tiles: tuple[MappedTile, ...]
    """What the map shows."""

    map_legend: Mapping[int, str]
    """Names of the classes on the map."""

    labels_digest: str
    """Identity of all labels of all tasks: equal for two models scored on the same truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the sources of benchmarks are."""

    samples: Path
    """The run's own samples."""

    labels: tuple[Path, ...]
    """Folders of label rasters beside the run's scenes."""

    base: Path
    """Folder of benchmark data."""


def places_of(config: "PlatformConfig", paths: "Paths") -> Places:
    """Return where the sources of benchmarks are."""
    ingest, evaluate = config.ingest, config.evaluate
    return Places(
        samples=paths.samples,
        labels=tuple(label_folders(paths.root, evaluate.labels, ingest.source, ingest.path)),
        base=paths.root / evaluate.benchmark_data,
    )


def gather(
    benchmarks: Sequence[Benchmark],
    places: Places,
    embed: Embed,
    settings: "EvaluateConfig",
) -> Gathered:
    """Read all sources, take what tasks need of them, and embed it.

    Args:
        benchmarks: The tasks.
        places: Where their sources are.
        embed: Gives the embeddings (N, D) of N d-pixels, NaN rows where there is nothing to embed.
        settings: How much of each group is taken.

    Memory is bounded by what tasks take: one part at a time is whole, and of each group only
    ``max_pixels_per_field`` d-pixels are kept.

    Raises:
        RecordError, SceneError: A source is there and cannot be read.
        InputError: A label is none that its task knows.
    """
    collected: dict[str, list[Examples]] = {each.name: [] for each in benchmarks}
    absent: dict[str, str] = {}
    tiles: list[MappedTile] = []
    content = hashlib.sha256()
    for data, asking in _by_source(benchmarks):
        try:
            for part in read_parts(data, places.samples, list(places.labels), places.base):
                room = MAX_MAPPED_PIXELS - sum(len(tile.row) for tile in tiles)
                is_mapped = data.kind == Source.SAMPLES and len(part.pixels) <= room
                drafts = {each.name: draft_units(part, each, settings) for each in asking}
                embedding = _embed(part, drafts, embed, whole=is_mapped)
                for each in asking:
                    draft = drafts[each.name]
                    content.update(_identity(each, part, draft))
                    if len(draft):
                        collected[each.name].append(
                            examples_of(draft, part, each, embedding[draft.rows])
                        )
                if is_mapped:
                    tiles.append(_map_tile(part, embedding, asking))
        except AbsentDataError as error:
            absent |= {each.name: str(error) for each in asking}
    examples = {
        each.name: _capped(join(collected[each.name]), each, settings)
        for each in benchmarks
        if collected[each.name]
    }
    legends = {each.name: _legend(each, places) for each in benchmarks}
    for each in benchmarks:
        if each.name in examples:
            _require_known(each, examples[each.name], legends[each.name])
    return Gathered(
        examples=examples,
        absent=absent,
        legends=legends,
        tiles=tuple(tiles),
        map_legend=next((legends[each.name] for each in benchmarks if _is_mapped(each)), {}),
        labels_digest=digest_json({"labels": content.hexdigest()}),
    )


def _by_source(benchmarks: Sequence[Benchmark]) -> Iterator[tuple[DataSource, list[Benchmark]]]:
    """Yield each source with the tasks that ask it, the run's own samples first."""
    sources = dict.fromkeys(each.data for each in benchmarks)
    for data in sorted(sources, key=lambda one: (one.kind != Source.SAMPLES, one.path or "")):
        yield data, [each for each in benchmarks if each.data == data]


def _embed(
    part: Part, drafts: Mapping[str, Draft], embed: Embed, *, whole: bool
) -> npt.NDArray[np.float32]:
    """Return embeddings (N, D) of a part; NaN where no task asks and the map does not either."""
    if whole:
        return embed(part.pixels)
    rows = np.unique(np.concatenate([draft.rows for draft in drafts.values()]))
    few = embed(part.pixels.take(rows))
    embedding = np.full((len(part.pixels), few.shape[1]), np.nan, np.float32)
    embedding[rows] = few
    return embedding


def _capped(examples: Examples, benchmark: Benchmark, settings: "EvaluateConfig") -> Examples:
    """Return the units that have data, each group capped again over all parts."""
    if examples.chip is not None:
        return examples
    has_data = np.isfinite(examples.pool(examples.embedding)).all(axis=1)
    kept = np.flatnonzero(has_data)
    if benchmark.kind != Kind.MULTILABEL:
        most = benchmark.num_per_group or settings.max_pixels_per_field
        kept = kept[smallest_keys(examples.group[kept], examples.key[kept], most)]
    return examples if len(kept) == len(examples) else examples.take(kept)


def _map_tile(
    part: Part, embedding: npt.NDArray[np.float32], asking: list[Benchmark]
) -> MappedTile:
    if part.grid is None:
        raise InputError(f"{part.name} has no grid, so it cannot be drawn")
    crops = next((each for each in asking if _is_mapped(each)), None)
    codes = np.zeros(len(part.pixels)) if crops is None else part.raster(str(crops.truth.raster))
    return MappedTile(
        name=part.name,
        year=part.year,
        grid=part.grid,
        row=part.row,
        column=part.column_number,
        embedding=embedding,
        crop_type=np.nan_to_num(codes).astype(np.int64),
    )


def _is_mapped(benchmark: Benchmark) -> bool:
    """Return whether the truth of a task can stand beside the map."""
    return benchmark.kind == Kind.CLASSIFICATION and benchmark.data.kind == Source.SAMPLES


def _identity(benchmark: Benchmark, part: Part, draft: Draft) -> bytes:
    """Return a digest of which units a task has and of all its labels, used or not."""
    content = hashlib.sha256(f"{benchmark.name}/{part.name}/{part.year}".encode())
    truth = np.nan_to_num(read_truth(part, benchmark), nan=-1.0e9)
    row, column = part.row[draft.rows], part.column_number[draft.rows]
    for values in (row, column, draft.unit, truth, draft.group):
        content.update(np.ascontiguousarray(values).tobytes())
    content.update(repr(draft.label_codes).encode())
    return content.digest()


def _legend(benchmark: Benchmark, places: Places) -> dict[int, str]:
    """Return names by code, from the legend beside the labels."""
    if benchmark.truth.legend is None:
        return {}
    if benchmark.data.kind == Source.SAMPLES:
        return read_legend(list(places.labels), benchmark.truth.legend)
    folder = places.base / str(benchmark.data.path)
    folder = folder.parent if folder.is_file() else folder
    return read_legend([folder], benchmark.truth.legend)


def _require_known(benchmark: Benchmark, examples: Examples, legend: Mapping[int, str]) -> None:
    """Refuse codes without a name where the task wants every code named."""
    if not benchmark.truth.strict:
        return
    if benchmark.kind == Kind.MULTILABEL:
        codes = set(examples.label_codes)
    else:
        codes = {int(code) for code in np.unique(examples.truth[np.isfinite(examples.truth)])}
    if unknown := sorted(codes - legend.keys()):
        known = ", ".join(str(code) for code in sorted(legend)) or "none"
        raise InputError(
            f"benchmark {benchmark.name}: the labels hold code {unknown[0]}, which its legend does "
            f"not name (known: {known}); mend labels or legend, or set truth.strict to false"
        )
