"""A run whose samples and export are real: tiles, scenes tables, NPY, store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.domain.bands import S2_BANDS
from tessera_core.domain.embedding import Embedding
from tessera_core.domain.tile import TileSeries
from tessera_core.export.config import ExportConfig
from tessera_core.export.store import root_attributes, write_store
from tessera_core.export.tiles import save_tile
from tessera_core.export.zones import zones_of
from tessera_core.records.files import atomic_folder, digest_file, write_json
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.records.samples import Scene, tile_folder, write_tile
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.lineage.audit.built import Run

RADAR = "sentinel-1-rtc"
SETTINGS = {"ingest": {"radar_collection": RADAR}}
CENTRE = (3.00035289, 50.55170755)
"""Longitude and latitude within the first tile of ``small_tiles``: row 2, column 2."""


@dataclass(slots=True, kw_only=True)
class MappedRun(Run):
    """One run that embeds tiles with random codes."""

    tiles: Sequence[TileSeries] = ()
    scenes: Sequence[Scene] = ()
    dimensions: int = 16
    shard_size: int = 32
    empty: Sequence[tuple[str, int, int]] = ()
    """Tile, row and column of pixels without an embedding."""

    def artifact(
        self, folder: Path, kind: str, names: list[str], facts: Mapping[str, Any] | None = None
    ) -> Manifest:
        if kind == "samples":
            return self.samples(folder)
        if kind == "export":
            return self.published(folder)
        if kind == "model":
            return self.model(folder)
        # Not super(): a dataclass with slots is another class than the one that names it here.
        return Run.artifact(self, folder, kind, names, facts)

    def samples(self, folder: Path) -> Manifest:
        with atomic_folder(folder) as building:
            for tile in self.tiles:
                write_tile(tile, self.scenes, tile_folder(building, tile.name, tile.year))
            return write_manifest(building, "samples", {"num_tiles": len(self.tiles)})

    def model(self, folder: Path) -> Manifest:
        with atomic_folder(folder) as building:
            (building / "encoder.safetensors").write_bytes(f"{self.mark} weights".encode())
            sampling = {"rule": "v2-buckets", "lengths": [8, 16]}
            write_json(building / "config.json", {"sampling": sampling})
            return write_manifest(building, "model", {})

    def published(self, folder: Path) -> Manifest:
        rng = np.random.default_rng(5)
        with atomic_folder(folder) as building:
            placed = []
            for tile in self.tiles:
                shape = (tile.grid.height, tile.grid.width)
                codes = rng.integers(-127, 128, (*shape, self.dimensions)).astype(np.int8)
                scale = rng.uniform(0.01, 0.02, shape).astype(np.float32)
                for name, row, column in self.empty:
                    if name == tile.name:
                        codes[row, column], scale[row, column] = 0, np.nan
                embedding = Embedding(codes=codes, scale=scale)
                placed.append(save_tile(building, tile.name, tile.year, tile.grid, embedding))
            years = sorted({tile.year for tile in placed})
            attributes = root_attributes(
                model="models:/tessera/1", dimensions=self.dimensions, source_data=["file:x"],
                build_version="0",
            )  # fmt: skip
            settings = ExportConfig(
                batch_size=1, chunk_size=min(32, self.shard_size), shard_size=self.shard_size,
                bfloat16=False,
            )  # fmt: skip
            write_store(building, zones_of(placed), years, settings, attributes)
            tiles = [tile.to_dict() for tile in placed]
            return write_manifest(building, "export", {"tiles": tiles, "years": years})


def small_run(root: Path, **changes: Any) -> MappedRun:
    """Return a run over two tiles of a few pixels, side by side."""
    grids = [make_grid(), make_grid(west=500_050)]
    tiles = [
        make_tile(name=name, grid=grid, seed=seed)
        for seed, (name, grid) in enumerate(zip("ab", grids, strict=True))
    ]
    return MappedRun(
        root=root, tiles=tiles, scenes=write_scenes(root, tiles[0]), settings=SETTINGS, **changes
    )


def write_scenes(root: Path, tile: TileSeries, num_others: int = 1) -> list[Scene]:
    """Write scene files of every date of a tile, and of dates that do not reach it."""
    dates = [("", int(day)) for day in tile.optical.day_of_year]
    dates += [("ascending", int(day)) for day in tile.ascending.day_of_year]
    dates += [("descending", int(day)) for day in tile.descending.day_of_year]
    free = sorted(set(range(1, 366)) - {day for orbit, day in dates if not orbit})
    dates += [("", day) for day in free[:num_others]]
    scenes = []
    for orbit, day in dates:
        name = f"{orbit or 'optical'}-{day:03}"
        for asset in ("vv", "vh") if orbit else [band.name for band in S2_BANDS]:
            path = root / "data" / "scenes" / f"{name}-{asset}.tif"
            write_json(path, [name, asset])
            found = digest_file(path, root)
            acquired = np.datetime64(f"{tile.year}-01-01") + (day - 1)
            scenes.append(
                Scene(
                    scene_id=name, collection=RADAR if orbit else "sentinel-2-l2a",
                    acquired=str(acquired), orbit=orbit, baseline="", offset_removed=not orbit,
                    asset=asset, href=found.path, sha256=found.sha256,
                )
            )  # fmt: skip
    return scenes
