"""Tiles as a sample set on disk, without an ingest run."""

from collections.abc import Iterable
from pathlib import Path

from tessera_core.domain.tile import TileSeries
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.records.samples import Scene, tile_folder, write_tile


def write_samples(samples: Path, tiles: Iterable[TileSeries]) -> Manifest:
    """Write tiles with one scene each, then the manifest."""
    counts = {
        f"{tile.name}/{tile.year}": write_tile(
            tile, [make_scene(tile.name)], tile_folder(samples, tile.name, tile.year)
        )
        for tile in tiles
    }
    return write_manifest(samples, "samples", {"tiles": counts, "num_pixels": sum(counts.values())})


def make_scene(scene_id: str, *, acquired: str = "2022-06-01", asset: str = "B04") -> Scene:
    """Return one row of a scenes table."""
    return Scene(
        scene_id=scene_id,
        collection="sentinel-2-l2a",
        acquired=acquired,
        orbit="",
        baseline="04.00",
        offset_removed=True,
        asset=asset,
        href=f"data/scenes/{scene_id}/{asset}.tif",
        sha256="ab" * 32,
    )
