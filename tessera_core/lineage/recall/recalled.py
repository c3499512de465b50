"""What is recalled: a scene, a tile or a processing baseline, and where the lineage has seen it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

import pyarrow.parquet as pq

from tessera_core.domain.baseline import plain_baseline
from tessera_core.errors import InputError, did_you_mean
from tessera_core.records.content import Contents
from tessera_core.records.files import FileDigest
from tessera_core.records.lineage import Lineage
from tessera_core.records.receipt import Receipt
from tessera_core.records.samples import SAMPLES_NAME, SCENES_NAME

SCENE_COLUMNS: Final = ("scene_id", "collection", "acquired", "orbit", "baseline")
MAX_LISTED: Final = 12

TileYear = tuple[str, int]
SceneRow = tuple[str, ...]
"""Values of ``SCENE_COLUMNS``."""

Days = Mapping[str, frozenset[int]]
"""Days of the year by series: ``s2``, ``s1_ascending``, ``s1_descending``."""


class Kind(StrEnum):
    """What a name stands for."""

    SCENE = "scene"
    TILE = "tile"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What is recalled."""

    kind: Kind
    """Scene, tile or baseline."""

    name: str
    """As the samples' records write it, and as ``ingest.exclude`` takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of one ingest receipt, as far as they can still be read."""

    receipt: Receipt
    """The ingest receipt."""

    manifest: str
    """sha256 of the manifest's file; empty where the lineage has lost it."""

    files: Mapping[TileYear, tuple[FileDigest, str]]
    """Tile and year -> entry of its samples file and its path in the workspace."""

    scenes: Mapping[TileYear, frozenset[SceneRow] | None]
    """Tile and year -> scenes that went in; None where the table was pruned."""

    pruned: tuple[FileDigest, ...]
    """Entries of the scenes tables that no copy is left of."""

    def ids_in_sources(self) -> set[str]:
        """Return what may be scene ids among the source files: the folders that they lie in."""
        names: set[str] = set()
        for source in self.receipt.sources:
            # STAC items of an API end with their id; files lie in a folder of that name.
            names.update(source.path.rsplit("/", 2)[-2:])
        return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """How one ingest run saw the subject."""

    tiles: Mapping[TileYear, Days | None]
    """Tiles with it -> days of its observations; None means all of them."""

    num_scenes: int
    """Scenes that it stands for there."""

    is_certain: bool
    """False where only the receipt's list of sources is left to tell."""

    shares_days: bool
    """True where another scene of the same day may have supplied some pixels instead."""


def read_samples(lineage: Lineage, contents: Contents) -> dict[str, Samples]:
    """Return the samples of every ingest receipt by its digest; each scenes table is read once."""
    tables: dict[str, frozenset[SceneRow] | None] = {}
    return {
        digest: _samples_of(receipt, lineage, contents, tables)
        for digest, receipt in lineage.of_stage("ingest").items()
    }


def resolve(what: str, known: Iterable[Samples]) -> Recalled:
    """Return what a name stands for.

    Raises:
        InputError: Nothing in the lineage has that name; the text has the closest ones.
    """
    samples = list(known)
    tiles = {tile for each in samples for tile, _ in each.files}
    rows = {row for each in samples for table in each.scenes.values() for row in table or ()}
    scenes, baselines = {row[0] for row in rows}, {row[4] for row in rows if row[4]}
    if what in tiles:
        return Recalled(kind=Kind.TILE, name=what)
    if what in scenes:
        return Recalled(kind=Kind.SCENE, name=what)
    if plain_baseline(what) in baselines:
        return Recalled(kind=Kind.BASELINE, name=plain_baseline(what))
    # Tables may be pruned; receipts still name every file that was read.
    sources = {name for each in samples if each.pruned for name in each.ids_in_sources()}
    if what in sources:
        return Recalled(kind=Kind.SCENE, name=what)
    names = scenes | tiles | baselines | (sources if not scenes else set())
    hint = did_you_mean(what, names) if names else "The lineage holds no samples yet."
    if len(names) > MAX_LISTED and hint.startswith("Known"):
        hint = f"There are {len(scenes)} scenes, {len(tiles)} tiles as {min(tiles, default='-')}, "
        hint += f"and the baselines {', '.join(sorted(baselines)) or '-'}."
    raise InputError(f"no samples in data/lineage have a scene, tile or baseline {what!r}. {hint}")


def sight(subject: Recalled, samples: Samples) -> Sighting | None:
    """Return how an ingest run saw the subject; None when it did not."""
    if subject.kind is Kind.TILE:
        whole = {place: None for place in samples.files if place[0] == subject.name}
        return _sighting(whole, 0) if whole else None
    column = SCENE_COLUMNS.index("scene_id" if subject.kind is Kind.SCENE else "baseline")
    radar = samples.receipt.config.get("ingest", {}).get("radar_collection", "")
    tiles: dict[TileYear, Days | None] = {}
    scenes: set[str] = set()
    shares_days = False
    for place, table in samples.scenes.items():
        found = {row for row in table or () if row[column] == subject.name}
        if not found:
            continue
        scenes |= {row[0] for row in found}
        tiles[place] = _days(found, radar)
        others = _days((table or frozenset()) - found, radar) or {}
        shares_days |= any(
            days & others.get(series, frozenset()) for series, days in (tiles[place] or {}).items()
        )
    if tiles:
        return _sighting(tiles, len(scenes), shares_days=shares_days)
    is_listed = subject.kind is Kind.SCENE and subject.name in samples.ids_in_sources()
    return _sighting({}, 1, is_certain=False) if samples.pruned and is_listed else None


def _sighting(
    tiles: Mapping[TileYear, Days | None],
    num_scenes: int,
    *,
    is_certain: bool = True,
    shares_days: bool = False,
) -> Sighting:
    return Sighting(
        tiles=tiles, num_scenes=num_scenes, is_certain=is_certain, shares_days=shares_days
    )


def _samples_of(
    receipt: Receipt,
    lineage: Lineage,
    contents: Contents,
    tables: dict[str, frozenset[SceneRow] | None],
) -> Samples:
    files: dict[TileYear, tuple[FileDigest, str]] = {}
    scenes: dict[TileYear, frozenset[SceneRow] | None] = {}
    pruned: list[FileDigest] = []
    for folder, manifest in lineage.outputs(receipt):
        for entry in manifest.files:
            path = PurePosixPath(entry.path)
            place = f"{folder}/{entry.path}"
            if path.name == SAMPLES_NAME:
                files[_tile_year(path)] = (entry, place)
            elif path.name == SCENES_NAME:
                digest = entry.sha256
                if digest not in tables:
                    found = contents.find(entry, place)
                    tables[digest] = None if found is None else _read_scenes(found)
                scenes[_tile_year(path)] = tables[digest]
                pruned += [entry] if tables[digest] is None else []
    held = [each.sha256 for each in receipt.outputs if each.sha256 in lineage.manifests]
    return Samples(
        receipt=receipt,
        manifest=held[0] if held else "",
        files=files,
        scenes=scenes,
        pruned=tuple(pruned),
    )


def _tile_year(path: PurePosixPath) -> TileYear:
    """Return what ``tile=NAME/window=YEAR/...`` says."""
    tile, window = path.parts[0], path.parts[1]
    return tile.removeprefix("tile="), int(window.removeprefix("window="))


def _read_scenes(path: Path) -> frozenset[SceneRow]:
    """Return the distinct scenes of a table."""
    with pq.ParquetFile(path) as file:
        table = file.read(columns=list(SCENE_COLUMNS))
    columns = [table[name].to_pylist() for name in SCENE_COLUMNS]
    return frozenset(zip(*columns, strict=True))


def _days(rows: Iterable[SceneRow], radar_collection: str) -> Days | None:
    """Return the days of the year by series; None when a scene holds all days of its tile."""
    found: dict[str, set[int]] = {}
    for _, collection, acquired, orbit, _ in rows:
        if not acquired:
            return None
        series = f"s1_{orbit}" if collection == radar_collection and orbit else "s2"
        found.setdefault(series, set()).add(date.fromisoformat(acquired).timetuple().tm_yday)
    return {series: frozenset(days) for series, days in found.items()}
