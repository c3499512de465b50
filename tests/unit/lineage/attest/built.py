"""A lineage with every stage's receipt: real samples and digests, small stand-ins for the rest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera_core.records.code import CodeVersion
from tessera_core.records.files import FileDigest, atomic_folder, digest_file, write_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, write_manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.stages import archive_manifests
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TIMES = {COMMIT: "2026-01-01T00:00:00+00:00"}
VERSIONS = {"python": "3.11.9", "numpy": "2.1.0", "torch": "2.13.0+cpu"}
EXPORT = "tessera-v1-aaaa"


@dataclass(slots=True, kw_only=True)
class World:
    """A checkout in which versions are made, one after the other; the first stays champion."""

    root: Path
    commit: str = COMMIT
    environment: str = "e" * 64

    @property
    def paths(self) -> Paths:
        return Paths(root=self.root, workspace=self.root)

    def record(
        self,
        stage: str,
        upstream: dict[str, str],
        outputs: list[Path],
        facts: dict[str, Any],
        sources: tuple[FileDigest, ...] = (),
    ) -> str:
        """Write a receipt as ``run_stage`` does; return its digest."""
        receipt = Receipt(
            stage=stage,
            config={stage: {"seed": 7, "path": None}},
            sources=sources,
            upstream=upstream,
            outputs=tuple(digest_file(path, self.root) for path in outputs),
            code=CodeVersion(commit=self.commit, dirty=False, closure="c" * 64),
            environment=self.environment,
            facts=facts,
        )
        archive_manifests(receipt, self.paths)
        write_receipt(receipt, self.paths.receipt(stage), self.paths.lineage)
        return receipt.digest

    def folder(self, target: Path, kind: str, mark: str, names: tuple[str, ...]) -> Manifest:
        with atomic_folder(target) as building:
            for name in names:
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                (building / name).write_text(f"{mark} {kind} {name}\n", encoding="utf-8")
            return write_manifest(building, kind, {"family": "own", "embedding_dim": 12})

    def prepare(self) -> dict[str, str]:
        """Ingest, quality, shuffle; return the digests of their receipts."""
        paths = self.paths
        scene = self.root / "data" / "scenes" / "a.tif"
        scene.parent.mkdir(parents=True, exist_ok=True)
        scene.write_bytes(b"a scene")
        grid = make_grid(width=4, height=3)
        write_samples(paths.samples, [make_tile(name=name, grid=grid, seed=1) for name in "ab"])
        ingest = self.record(
            "ingest", {}, [paths.samples / MANIFEST_NAME],
            {"num_pixels": 24, "tiles": {"a/2022": 12, "b/2022": 12}, "source": "stac"},
            (digest_file(scene, self.root),),
        )  # fmt: skip
        self.folder(paths.quality, "quality", "", ("report.html",))
        quality = self.record(
            "quality", {"ingest": ingest}, [paths.quality / MANIFEST_NAME],
            {"verdict": "passed", "num_rules": 25, "num_failures": 0},
        )  # fmt: skip
        self.folder(paths.shards, "shards", "", ("train-0.parquet", "norms.json"))
        shuffle = self.record(
            "shuffle", {"ingest": ingest, "quality": quality}, [paths.shards / MANIFEST_NAME],
            {"num_pixels": {"train": 20, "val": 4}, "seed": 13},
        )  # fmt: skip
        return {"ingest": ingest, "quality": quality, "shuffle": shuffle}

    def version(self, number: str, *, simulated: bool = True) -> dict[str, str]:
        """Train, score and register a version; return the digests of its receipts."""
        paths, chain = self.paths, self.prepare()
        model = self.folder(paths.model, "model", number, ("encoder.safetensors", "config.json"))
        write_json(paths.training / "history.json", [{"step": 1, "version": number}])
        chain["pretrain"] = self.record(
            "pretrain", {"shuffle": chain["shuffle"]},
            [paths.model / MANIFEST_NAME, paths.training / "history.json"],
            {"num_parameters": 1234, "num_train_pixels": 20, "num_steps": 9,
             "model_digest": model.digest},
        )  # fmt: skip
        score = {"mean": 0.7, "low": 0.65, "high": 0.75}
        chain["evaluate"] = self.record(
            "evaluate", {"ingest": chain["ingest"], "pretrain": chain["pretrain"]}, [],
            {"simulated": simulated, "protocol_digest": "d" * 64, "skipped": {"burned": "absent"},
             "headline": {"crop_type": {"encoder/linear": {"accuracy": score},
                                        "raw/linear": {"accuracy": score}}}},
        )  # fmt: skip
        named = {"version": number, "model_digest": model.digest,
                 **{stage: chain[stage] for stage in ("pretrain", "evaluate")}}  # fmt: skip
        first = named if number == "1" else self.champion
        if number == "1":
            self.folder(paths.champion, "model", number, ("encoder.safetensors", "config.json"))
        write_json(paths.registration / "registration.json", {"candidate": named})
        write_manifest(paths.registration, "registration", {})
        chain["register"] = self.record(
            "register", {stage: chain[stage] for stage in ("pretrain", "evaluate")},
            [paths.registration / MANIFEST_NAME],
            {"model_name": "tessera", "candidate": named, "champion": first,
             "champion_receipts": {stage: first[stage] for stage in ("pretrain", "evaluate")},
             "decision": {"alias": "champion" if first is named else "challenger",
                          "reasons": [f"reason of {number}"]}},
        )  # fmt: skip
        return chain

    @property
    def champion(self) -> dict[str, str]:
        facts = Receipt.read(self.paths.receipt("register")).facts
        return dict(facts["champion"])

    def export(self, chain: dict[str, str]) -> str:
        """Publish the champion's embeddings; return the receipt's digest."""
        target = self.paths.exports / EXPORT
        self.folder(target, "export", "1", ("npy/a/a.npy", "preview.png"))
        return self.record(
            "export", {stage: chain[stage] for stage in ("ingest", "register")},
            [target / MANIFEST_NAME],
            {"export": EXPORT, "model_name": "tessera", "version": "1", "num_tiles": 2},
        )  # fmt: skip
