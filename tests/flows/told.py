"""A checkout that holds what runs leave: real receipts, manifests and models, no stage was run."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tessera_core.config import PARAMS_NAME, PlatformConfig
from tessera_core.model.artifact import write_artifact
from tessera_core.records.code import CodeVersion
from tessera_core.records.files import (
    atomic_folder,
    canonical_json,
    digest_file,
    digest_json,
    write_atomically,
    write_json,
)
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, write_manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.stages import archive_manifests
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Told:
    """Runs of one checkout, each in a workspace named by its seed; seed 0 is the checkout's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = PlatformConfig.read(root / PARAMS_NAME)
        self.scored: dict[int, dict[str, str]] = {}

    def paths(self, seed: int) -> Paths:
        workspace = self.root / "data" / "runs" / f"seed{seed}" if seed else self.root
        return Paths(root=self.root, workspace=workspace)

    def settings(self, seed: int) -> dict[str, Any]:
        return {**self.config.section("pretrain"), "seed": seed}

    def train(self, seed: int) -> dict[str, str]:
        """Write everything up to the scores of a run; return what a registry is told of it."""
        paths = self.paths(seed)
        receipts = {}
        for stage, folder in (("ingest", paths.samples), ("shuffle", paths.shards)):
            self._seal(folder, stage, {"part.bin": b"pixels"})
            upstream = {"ingest": receipts["ingest"]} if receipts else {}
            receipts[stage] = self.record(seed, stage, upstream, [folder])
        with atomic_folder(paths.model) as folder:
            shutil.rmtree(folder)
            write_artifact(folder, tiny_encoder(seed), TINY_CONFIG, NORMS, random_pixels(4, 2))
        model = Manifest.read(paths.model).digest
        write_json(
            paths.training / "history.json",
            [{"step": step, "loss/total": 10.0 - step - seed} for step in (1, 2)],
        )
        (paths.training / "curves.png").write_bytes(b"a figure")
        receipts["pretrain"] = self.record(
            seed, "pretrain", {"shuffle": receipts["shuffle"]},
            [paths.model, paths.training / "history.json", paths.training / "curves.png"],
            {"model_digest": model}, {"pretrain": self.settings(seed)},
        )  # fmt: skip
        evaluation = {
            "model_digest": model, "labels_digest": "e" * 64, "protocol_digest": "f" * 64,
            "protocol": {}, "simulated": True, "tasks": {},
        }  # fmt: skip
        self._seal(
            paths.evaluation, "evaluation",
            {"evaluation.json": canonical_json(evaluation), "report.html": b"<p>scores</p>"},
        )  # fmt: skip
        upstream = {stage: receipts[stage] for stage in ("ingest", "pretrain")}
        receipts["evaluate"] = self.record(
            seed, "evaluate", upstream, [paths.evaluation],
            {"model_digest": model, "simulated": True, "headline": {}, "compared": {}},
        )  # fmt: skip
        self.scored[seed] = {
            "model_digest": model,
            "pretrain": receipts["pretrain"],
            "evaluate": receipts["evaluate"],
        }
        return self.scored[seed]

    def decide(
        self, seed: int, version: int, alias: str, champion: tuple[int, int] | None, reason: str,
        *, compared: bool = False, met: tuple[str | None, ...] = (),
    ) -> str:  # fmt: skip
        """Write a decision; ``champion`` is version and seed of who serves afterwards, if any."""
        paths, served = self.paths(seed), None
        if champion is not None:
            number, serving = champion
            served = {"version": str(number), "simulated": True, **self.scored[serving]}
        record = {
            "model_name": "tessera",
            "candidate": {"version": str(version), **self.scored[seed]},
            "champion": served,
            "decision": {"alias": alias, "reasons": [reason], "numbers": {}},
            "evidence": {"comparison": "a" * 64} if compared else {},
            "rule": {"model_name": "tessera"},
        }
        if met:
            record["before"] = met[0]
        files = {"registration.json": canonical_json(record), "card.md": b"card"}
        self._seal(paths.registration, "registration", files)
        own = self.scored[seed]
        upstream = {stage: own[stage] for stage in ("pretrain", "evaluate")}
        return self.record(seed, "register", upstream, [paths.registration], record)

    def override(self, seed: int, version: int, before: int | None, by: str) -> str:
        """Write the decision of a person."""
        own = self.scored[seed]
        record = {
            "kind": "override", "model_name": "tessera", "version": str(version),
            "model_digest": own["model_digest"], "evaluate": own["evaluate"],
            "before": None if before is None else str(before), "by": by, "reason": "seams",
        }  # fmt: skip
        digest = digest_json(record)
        write_atomically(self.paths(0).lineage / f"{digest}.json", canonical_json(record))
        return digest

    def record(
        self,
        seed: int,
        stage: str,
        upstream: Mapping[str, str],
        outputs: list[Path],
        facts: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a receipt as a stage's run would."""
        paths = self.paths(seed)
        files = [path / MANIFEST_NAME if path.is_dir() else path for path in outputs]
        section = {stage: self.config.section(stage)}
        receipt = Receipt(
            stage=stage, config=config or section, sources=(), upstream=upstream,
            outputs=tuple(digest_file(path, paths.workspace) for path in files),
            code=CodeVersion(commit=COMMIT, dirty=False, closure="c" * 64),
            environment="e" * 64, facts=facts or {},
        )  # fmt: skip
        archive_manifests(receipt, paths)
        write_receipt(receipt, paths.receipt(stage), paths.lineage)
        return receipt.digest

    def _seal(self, folder: Path, kind: str, files: Mapping[str, bytes]) -> None:
        with atomic_folder(folder) as building:
            for name, content in files.items():
                (building / name).write_bytes(content)
            write_manifest(building, kind, {})
