"""The shuffle stage: samples in, shards out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tessera_core.errors import InputError
from tessera_core.records.files import FileDigest, atomic_folder, write_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, write_manifest
from tessera_core.records.outcome import Outcome
from tessera_core.records.samples import list_tiles, pixels_of, read_tile
from tessera_core.shuffle.assignment import SPLITS, assign_splits, shuffled_rows
from tessera_core.shuffle.norms import compute_norms
from tessera_core.shuffle.write import load_rows, write_shards

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.ports import Ports
    from tessera_core.records.paths import Paths


def sources(config: PlatformConfig, paths: Paths) -> tuple[FileDigest, ...]:
    """Return nothing: the stage reads only what ingest made."""
    return ()


def run(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Permute all d-pixels of all tiles, split them by block, and take the train split's norms.

    D-pixels without any clear observation are left out and counted.
    """
    settings = config.shuffle
    folders = list_tiles(paths.samples)
    if not folders:
        raise InputError(f"no samples in {paths.samples}; run `tessera ingest` first")
    tiles = [read_tile(folder) for folder in folders]
    rows = load_rows(folders, tiles, settings.block_size_m)
    keep = np.concatenate([tile.pixels.optical.num_valid() > 0 for tile in tiles])
    blocks = rows["block"].to_numpy()
    split = assign_splits(
        blocks[keep], val_share=settings.val_share, test_share=settings.test_share,
        seed=settings.seed,
    )  # fmt: skip
    split_of_row = np.zeros(len(keep), np.int8)
    split_of_row[keep] = split
    orders = shuffled_rows(split_of_row, keep, seed=settings.seed)
    norms = compute_norms(pixels_of(rows.take(orders["train"])))
    counts = {name: len(orders[name]) for name in SPLITS}
    with atomic_folder(paths.shards) as folder:
        for name in SPLITS:
            write_shards(rows, orders[name], name, settings.rows_per_shard, folder)
        write_json(folder / "norms.json", norms.to_dict())
        write_manifest(
            folder,
            "shards",
            {
                "samples": Manifest.read(paths.samples).digest,
                "num_pixels": counts,
                "num_without_clear": int((~keep).sum()),
                "num_blocks": len(np.unique(blocks)),
                "num_tiles": len(tiles),
            },
        )
    facts = {"num_pixels": counts, "num_tiles": len(tiles), "seed": settings.seed}
    return Outcome(outputs=(paths.shards / MANIFEST_NAME,), facts=facts)
