"""Ways in: every source lists tiles and reads one as a validated ``TileSeries``.

A new source is one module with a class that satisfies ``SceneSource`` and one line in
``open_source``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tessera_core.domain.grid import TileGrid
from tessera_core.domain.tile import TileSeries
from tessera_core.ingest.config import IngestConfig
from tessera_core.records.files import FileDigest
from tessera_core.records.samples import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRef:
    """One tile and year that a source can read."""

    name: str
    """Unique within the source."""

    year: int
    """Calendar year."""

    grid: TileGrid
    """Pixels to fill."""


class SceneSource(Protocol):
    """Where scenes come from."""

    def digests(self) -> tuple[FileDigest, ...]:
        """Return the identity of everything that may be read, for receipts."""

    def tiles(self) -> list[TileRef]:
        """Return the tiles and years on offer, at least one."""

    def remarks(self) -> list[str]:
        """Return sentences on settings without effect and on what was left out; often none."""

    def read(self, ref: TileRef) -> tuple[TileSeries, list[Scene]]:
        """Return a tile's observations and the files they came from."""


def exclusion_remark(name: str) -> str:
    """Return what the user should know of a name in ``ingest.exclude`` that nothing has."""
    return (
        f"ingest.exclude names {name!r}, but nothing that was found has that scene id, tile name "
        "or baseline, so nothing was left out for it; `tessera recall NAME` tells what there is"
    )


def open_source(config: IngestConfig, root: Path) -> SceneSource:
    """Return the source that the settings name; paths are relative to ``root``."""
    if config.source == "tiles":
        from tessera_core.ingest.sources.tiles import TileDirectories

        return TileDirectories(root / config.path, root, config.year, config.exclude)
    from tessera_core.ingest.sources.stac import StacScenes

    return StacScenes(config, root)
