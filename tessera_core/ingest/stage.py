"""The ingest stage: scenes in, samples out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tessera_core.errors import SceneError
from tessera_core.ingest.config import SAFE_NAME
from tessera_core.ingest.sources import SceneSource, TileRef, open_source
from tessera_core.records.files import FileDigest, atomic_folder, read_json, storage_errors
from tessera_core.records.manifest import MANIFEST_NAME, write_manifest
from tessera_core.records.outcome import Outcome
from tessera_core.records.samples import tile_folder, write_tile

if TYPE_CHECKING:
    from pathlib import Path

    from tessera_core.config import PlatformConfig
    from tessera_core.ports import Ports
    from tessera_core.records.paths import Paths

SIMULATION_KEY = "tessera:simulation"
"""What the simulator writes into the catalogue it makes."""


def sources(config: PlatformConfig, paths: Paths) -> tuple[FileDigest, ...]:
    """Return the digests of all scenes that the settings name."""
    return open_source(config.ingest, paths.root).digests()


def run(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Read every tile and write its d-pixels and scenes table."""
    source = open_source(config.ingest, paths.root)
    refs = source.tiles()
    _check_names(refs)
    with atomic_folder(paths.samples) as folder:
        counts = ports.mapper("ingest_tile", partial(ingest_tile, source, folder), refs)
        facts: dict[str, Any] = {
            "source": config.ingest.source,
            "simulated": is_simulated(paths.root, config.ingest.path),
            "tiles": {f"{ref.name}/{ref.year}": n for ref, n in zip(refs, counts, strict=True)},
            "num_pixels": sum(counts),
        }
        if remarks := source.remarks():
            facts["remarks"] = remarks
        write_manifest(folder, "samples", facts)
    return Outcome(outputs=(paths.samples / MANIFEST_NAME,), facts=facts)


def ingest_tile(source: SceneSource, folder: Path, ref: TileRef) -> int:
    """Read one tile and write its samples; return the number of d-pixels."""
    tile, scenes = source.read(ref)
    with storage_errors(folder):
        return write_tile(tile, scenes, tile_folder(folder, ref.name, ref.year))


def is_simulated(root: Path, path: str) -> bool:
    """Return whether the scenes come from a catalogue that the simulator wrote."""
    if "://" in path:
        return False
    catalogue = root / path if path.endswith(".json") else root / path / "catalog.json"
    if not catalogue.is_file():
        return False
    stored = read_json(catalogue)
    return isinstance(stored, dict) and SIMULATION_KEY in stored


def _check_names(refs: list[TileRef]) -> None:
    """Refuse tile names that are not unique or cannot be a folder name."""
    seen = set()
    for ref in refs:
        if not SAFE_NAME.fullmatch(ref.name):
            raise SceneError(
                f"tile name {ref.name!r} has characters beyond letters, digits, . _ -; "
                "rename the tile directory"
            )
        if (ref.name, ref.year) in seen:
            raise SceneError(f"tile {ref.name} of {ref.year} occurs twice; rename one")
        seen.add((ref.name, ref.year))
