"""Synthetic runs: small files, real manifests and receipts, no stage code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tessera_core.records.code import CodeVersion
from tessera_core.records.files import FileDigest, atomic_folder, digest_file, write_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, write_manifest
from tessera_core.records.outside import digest_source, remember_place
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.records.samples import write_table
from tessera_core.records.schema import SCENES
from tessera_core.stages import archive_manifests

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCENES_TABLE = "tile=a/window=2022/scenes.parquet"


def code(commit: str = COMMIT, dirty: bool = False) -> CodeVersion:
    return CodeVersion(commit=commit, dirty=dirty, closure="c" * 64)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of the cycle in a workspace; each step is one stage, written as the stage would."""

    root: Path
    """Holds scenes and labels."""

    workspace: Path | None = None
    """Holds what the run makes; the root when None."""

    scene_folder: str = "data/scenes"
    """Where its scenes are, as a setting names the folder."""

    label_folder: str = "data/labels"
    """Where its label rasters are."""

    given: tuple[Path, ...] = ()
    """Further sources of its training: manifests and checkpoints."""

    mark: str = "first"
    """Goes into every file, so that two runs differ."""

    codes: Mapping[str, CodeVersion] = field(default_factory=dict)
    """Code version by stage where it is not clean."""

    version: str = "1"
    """Of its model in the registry."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further settings by stage."""

    decided: str = ""
    """What a person decided, as the registration tells it."""

    overridden: Mapping[str, str] | None = None
    """The decision by which the champion served, as registrations name it since they do."""

    is_signed: bool = True
    """Whether attestations say that the model is signed; the signature is not looked at here."""

    compared: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the gate decided by."""

    receipts: dict[str, str] = field(default_factory=dict)
    """Digest by stage."""

    @property
    def paths(self) -> Paths:
        return Paths(root=self.root, workspace=self.workspace or self.root)

    def artifact(
        self, folder: Path, kind: str, names: list[str], facts: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Write a folder of small files and its manifest."""
        with atomic_folder(folder) as building:
            for name in names:
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                (building / name).write_bytes(f"{self.mark} {kind} {name}\n".encode())
            if kind == "samples":
                self.scenes_table(building / SCENES_TABLE)
            return write_manifest(building, kind, facts or {})

    def scenes_table(self, path: Path) -> None:
        row = dict.fromkeys(SCENES.names, "") | {"offset_removed": True}
        rows = [
            row | {"href": source.path, "sha256": source.sha256}
            for source in self.sources(self.scene_folder)
        ]
        write_table(pa.Table.from_pylist(rows, schema=SCENES), path)

    def sources(self, folder: str) -> tuple[FileDigest, ...]:
        files = sorted((self.root / folder).glob("*"))
        return tuple(digest_source(path, self.root) for path in files)

    def record(
        self,
        stage: str,
        upstream: tuple[str, ...],
        outputs: list[Path],
        facts: Mapping[str, Any],
        sources: tuple[FileDigest, ...] = (),
    ) -> str:
        """Write the stage's receipt as ``run_stage`` does."""
        receipt = Receipt(
            stage=stage,
            config={stage: {"seed": 7, **self.settings.get(stage, {})}},
            sources=sources,
            upstream={name: self.receipts[name] for name in upstream},
            outputs=tuple(digest_file(path, self.paths.workspace) for path in outputs),
            code=self.codes.get(stage, code()),
            environment="e" * 64,
            facts=facts,
        )
        remember_place(sources, self.root)
        archive_manifests(receipt, self.paths)
        write_receipt(receipt, self.paths.receipt(stage), self.paths.lineage)
        self.receipts[stage] = receipt.digest
        return receipt.digest

    def prepare(self, verdict: str | None = "passed") -> None:
        """Ingest, quality and shuffle."""
        paths = self.paths
        for folder, name in (
            (self.scene_folder, "a.tif"),
            (self.scene_folder, "b.tif"),
            (self.label_folder, "crop_type.tif"),
        ):
            path = self.root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{self.mark} {name}\n".encode())
        samples = self.artifact(paths.samples, "samples", ["tile=a/window=2022/samples.parquet"])
        self.record(
            "ingest", (), [paths.samples / MANIFEST_NAME], {"num_pixels": 12},
            self.sources(self.scene_folder),
        )  # fmt: skip
        self.artifact(paths.quality, "quality", ["report.html"])
        facts = {} if verdict is None else {"verdict": verdict}
        self.record("quality", ("ingest",), [paths.quality / MANIFEST_NAME], facts)
        self.artifact(paths.shards, "shards", ["train-0.parquet", "norms.json"])
        self.record(
            "shuffle", ("ingest", "quality"), [paths.shards / MANIFEST_NAME],
            {"samples": samples.digest},
        )  # fmt: skip

    def train(self) -> Manifest:
        """Pretrain and evaluate; return the model's manifest."""
        paths = self.paths
        model = self.artifact(paths.model, "model", ["encoder.safetensors", "config.json"])
        write_json(paths.training / "history.json", [{"step": 1, "mark": self.mark}])
        if self.is_signed:
            facts = {"model_digest": model.digest, "signed_by": "a" * 64}
            folder = paths.attestations / f"tessera-{self.version}-{self.mark}".replace(" ", "-")
            self.artifact(folder, "attestations", ["bundle.intoto.jsonl"], facts)
        self.record(
            "pretrain",
            ("shuffle",),
            [paths.model / MANIFEST_NAME, paths.training / "history.json"],
            {"model_digest": model.digest, "shards": Manifest.read(paths.shards).digest},
            (
                *self.sources(self.label_folder),
                *(digest_source(path, self.root) for path in self.given),
            ),
        )
        self.artifact(paths.evaluation, "evaluation", ["evaluation.json"])
        self.record(
            "evaluate", ("ingest", "pretrain"), [paths.evaluation / MANIFEST_NAME],
            {"simulated": False, "num_fields": 3}, self.sources(self.label_folder),
        )  # fmt: skip
        return model

    def release(self, champion: "Run | None" = None, model_digest: str | None = None) -> None:
        """Register and export; the champion is this run's model or an earlier run's."""
        paths, source = self.paths, champion or self
        digest = model_digest or Manifest.read(paths.model).digest
        mark, self.mark = self.mark, source.mark
        self.artifact(paths.champion, "model", ["encoder.safetensors", "config.json"])
        self.mark = mark
        record = self.decision(source, digest)
        write_json(paths.registration / "registration.json", record)
        write_manifest(paths.registration, "registration", {})
        behind = {stage: source.receipts[stage] for stage in ("pretrain", "evaluate")}
        self.record(
            "register", ("pretrain", "evaluate"), [paths.registration / MANIFEST_NAME],
            {**record, "champion_receipts": behind, "evidence": dict(self.compared)},
        )  # fmt: skip
        name = f"tessera-v1-{self.mark}"
        self.artifact(paths.exports / name, "export", ["npy/a/2022/a.npy", "preview.png"])
        self.record(
            "export",
            ("ingest", "register"),
            [paths.exports / name / MANIFEST_NAME],
            {
                "export": name,
                "model_name": "tessera",
                "version": "1",
                "model_digest": digest,
                "samples_digest": Manifest.read(paths.samples).digest,
                "num_tiles": 1,
                "num_pixels": 12,
            },
        )

    def cycle(self) -> "Run":
        """All stages."""
        self.prepare()
        self.train()
        self.release()
        return self

    def decision(self, champion: "Run", digest: str) -> dict[str, Any]:
        """Return the registration of this run's model."""
        is_champion = champion is self
        rule = "first version: there is no champion yet" if is_champion else "no better"
        reasons = [self.decided or rule]
        return {
            "model_name": "tessera",
            "candidate": self.described(Manifest.read(self.paths.model).digest),
            "champion": champion.described(digest),
            "decision": {"alias": "champion" if is_champion else "challenger", "reasons": reasons},
            "before": None if is_champion else champion.version,
            # What a release without the field told in words, it tells in words here.
            **({} if self.decided else {"override": self.overridden}),
            "tags": {"tessera.config_digest": "f" * 64} if is_champion else {},
        }

    def described(self, digest: str) -> dict[str, str]:
        """Return this run's version as a registration describes it."""
        behind = {stage: self.receipts[stage] for stage in ("pretrain", "evaluate")}
        return {"version": self.version, "model_digest": digest, **behind}

    def evidence(self) -> list[Path]:
        """Return every file that an audit hashes."""
        files = sorted(path for path in self.root.rglob("*") if path.is_file())
        attested = set(self.paths.attestations.glob("*/manifest.json"))  # read, for it lists all
        return [path for path in files if path not in attested]


def cache_workspace(paths: Paths) -> None:
    """Put every file of the workspace into DVC's cache, as ``dvc commit`` does."""
    for path in sorted(paths.data.rglob("*")):
        if path.is_file() and paths.lineage not in path.parents:
            md5 = digest_file(path, paths.root).md5
            target = paths.dvc_cache / md5[:2] / md5[2:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
