"""A workspace in which ingest and quality have run, so that real stages can follow."""

from pathlib import Path
from typing import Any

from tessera_core.records.code import CodeVersion
from tessera_core.records.files import digest_file
from tessera_core.records.manifest import MANIFEST_NAME
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile

TINY_OVERRIDES = (
    "ingest.path=scenes", "shuffle.rows_per_shard=20", "shuffle.block_size_m=20",
    "pretrain.num_steps=6", "pretrain.batch_size=8", "pretrain.view_lengths=[4]",
    "pretrain.model_dim=16", "pretrain.num_layers=2", "pretrain.num_heads=2",
    "pretrain.feedforward_dim=24", "pretrain.embedding_dim=12", "pretrain.dropout=0.1",
    "pretrain.projector_dim=20", "pretrain.num_threads=1", "pretrain.log_every=2",
    "pretrain.save_every=2", "pretrain.probe_every=0", "pretrain.num_loaders=0",
)  # fmt: skip
"""Settings for tiles of a few pixels; the encoder is ``TINY_SHAPE``."""


def ingest_by_hand(root: Path, seed: int = 1) -> Paths:
    """Write samples of two tiles with the receipts of ingest and quality; return the paths."""
    paths = Paths(root=root, workspace=root)
    grid = make_grid(width=9, height=8)
    tiles = [make_tile(name=name, grid=grid, seed=seed + ord(name)) for name in "ab"]
    write_samples(paths.samples, tiles)
    ingest = record(paths, "ingest", {}, [paths.samples / MANIFEST_NAME], facts={"seed": seed})
    record(paths, "quality", {"ingest": ingest.digest}, [])
    return paths


def record(
    paths: Paths,
    stage: str,
    upstream: dict[str, str],
    outputs: list[Path],
    facts: dict[str, Any] | None = None,
) -> Receipt:
    """Write a receipt as a stage's run would."""
    receipt = Receipt(
        stage=stage,
        config={},
        sources=(),
        upstream=upstream,
        outputs=tuple(digest_file(path, paths.workspace) for path in outputs),
        code=CodeVersion(commit="unknown", dirty=True, closure="c" * 64),
        environment="e" * 64,
        facts=facts or {},
    )
    write_receipt(receipt, paths.receipt(stage), paths.lineage)
    return receipt
