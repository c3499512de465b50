"""A small history with real samples and shards: receipts as the stages write them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tessera_core.config import PlatformConfig
from tessera_core.domain.tile import TileSeries
from tessera_core.ports import OFFLINE
from tessera_core.records.code import CodeVersion
from tessera_core.records.files import digest_file
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, write_manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.records.samples import tile_folder, write_tile
from tessera_core.stages import archive_manifests, run_stage
from tessera_core.testing.samples import make_scene
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.chain import TINY_OVERRIDES

YEAR = 2022


def scene_id(tile: TileSeries, index: int) -> str:
    return f"S2A_{tile.name}_{int(tile.optical.day_of_year[index]):03d}"


def date_of(day: int) -> str:
    return (date(YEAR, 1, 1) + timedelta(days=day - 1)).isoformat()


@dataclass(slots=True, kw_only=True)
class History:
    """One workspace, run by hand."""

    root: Path
    repo: Path
    workspace: Path | None = None
    receipts: dict[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> Paths:
        return Paths(root=self.root, workspace=self.workspace or self.root)

    @property
    def config(self) -> PlatformConfig:
        return PlatformConfig.read(self.repo / "params.yaml", TINY_OVERRIDES)

    def record(
        self,
        stage: str,
        upstream: tuple[str, ...],
        outputs: list[Path],
        facts: Mapping[str, Any],
        config: Mapping[str, Any] | None = None,
    ) -> str:
        receipt = Receipt(
            stage=stage,
            config={stage: {**self.config.section(stage), **(config or {})}},
            sources=(),
            upstream={name: self.receipts[name] for name in upstream},
            outputs=tuple(digest_file(path, self.paths.workspace) for path in outputs),
            code=CodeVersion(commit="unknown", dirty=True, closure="c" * 64),
            environment="e" * 64,
            facts=facts,
        )
        archive_manifests(receipt, self.paths)
        write_receipt(receipt, self.paths.receipt(stage), self.paths.lineage)
        self.receipts[stage] = receipt.digest
        return receipt.digest

    def prepare(self, tiles: list[TileSeries], exclude: tuple[str, ...] = ()) -> None:
        """Ingest a scene per optical date of each tile, pass quality, run the real shuffle."""
        paths = self.paths
        counts = {}
        for tile in tiles:
            days = tile.optical.day_of_year
            scenes = [
                make_scene(scene_id(tile, index), acquired=date_of(int(day)))
                for index, day in enumerate(days)
            ]
            folder = tile_folder(paths.samples, tile.name, tile.year)
            counts[f"{tile.name}/{tile.year}"] = write_tile(tile, scenes, folder)
        facts = {"tiles": counts, "num_pixels": sum(counts.values())}
        write_manifest(paths.samples, "samples", facts)
        outputs = [paths.samples / MANIFEST_NAME]
        self.record("ingest", (), outputs, facts, {"exclude": list(exclude)})
        self.record("quality", ("ingest",), [], {"verdict": "passed"})
        result = run_stage("shuffle", self.config, paths, OFFLINE)
        self.receipts["shuffle"] = result.receipt.digest

    def train(self, mark: str, **settings: Any) -> str:
        """Write a model that names its shards; return its digest."""
        paths = self.paths
        paths.model.mkdir(parents=True, exist_ok=True)
        (paths.model / "encoder.safetensors").write_text(mark, encoding="utf-8")
        model = write_manifest(paths.model, "model", {})
        facts = {
            "model_digest": model.digest,
            "shards": Manifest.read(paths.shards).digest,
            "teacher": settings.pop("taught_by", None),
        }
        self.record("pretrain", ("shuffle",), [paths.model / MANIFEST_NAME], facts, settings)
        self.record("evaluate", ("ingest", "pretrain"), [], {"model_digest": model.digest})
        return model.digest

    def release(self, version: str, champion: Mapping[str, str] | None = None) -> str:
        """Register the model and export with it, or with an earlier champion's receipts."""
        paths = self.paths
        serving = champion or {s: self.receipts[s] for s in ("pretrain", "evaluate")}
        candidate = {s: self.receipts[s] for s in ("pretrain", "evaluate")}
        facts = {
            "model_name": "tessera",
            "candidate": {"version": version, **candidate},
            "champion": {"version": version if champion is None else "1", **serving},
            "champion_receipts": dict(serving),
            "decision": {"alias": "champion" if champion is None else "challenger"},
        }
        self.record("register", ("pretrain", "evaluate"), [], facts)
        folder = paths.exports / f"tessera-v{version}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.npy").write_text(f"{version} {self.receipts['ingest']}", encoding="utf-8")
        write_manifest(folder, "export", {})
        facts = {"export": folder.name, "num_tiles": 2, "version": version}
        return self.record("export", ("ingest", "register"), [folder / MANIFEST_NAME], facts)


def two_tiles() -> list[TileSeries]:
    grid = make_grid(width=9, height=8)
    return [
        make_tile(name=name, grid=grid, seed=seed) for seed, name in enumerate(("west", "east"))
    ]
