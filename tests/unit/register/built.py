"""Trained and scored models without training or scoring: real artifacts, real receipts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tessera_core.config import PlatformConfig
from tessera_core.model.artifact import write_artifact
from tessera_core.ports import NullTracker, Ports, map_serially
from tessera_core.records.code import CodeVersion
from tessera_core.records.evaluation import PREDICTIONS
from tessera_core.records.files import atomic_folder, digest_file, write_json
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.records.samples import write_table
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.registry import InMemoryRegistry

CODE = CodeVersion(commit="c0ffee" * 6 + "c0de", dirty=False, closure="c" * 64)


PROTOCOL = "d" * 64
NUM_GROUPS, NUM_PER_GROUP = 80, 5


def answers(task: str, model: str, share: float) -> pa.Table:
    """Return predictions of one model, right for a share of the units of every field."""
    num = NUM_GROUPS * NUM_PER_GROUP
    unit = np.arange(num)
    truth = (unit % 2).astype(np.float64)
    # Spread evenly over fields and classes, so that a better version is better everywhere.
    is_right = (unit * 0.6180339887) % 1 < share
    columns = {
        "task": np.full(num, task), "model": np.full(num, model), "tile": np.full(num, "t"),
        "year": np.full(num, 2022), "row": unit, "column": np.zeros(num), "label": np.zeros(num),
        "group": unit // NUM_PER_GROUP, "region": np.full(num, ""), "fold": np.zeros(num),
        "truth": truth, "predicted": np.where(is_right, truth, 1 - truth),
    }  # fmt: skip
    arrays = [pa.array(columns[part.name]).cast(part.type) for part in PREDICTIONS]
    return pa.table(arrays, schema=PREDICTIONS)


def interval_about(share: float) -> dict[str, float]:
    """Return a score with an interval of two points to either side."""
    return {"mean": share, "low": share - 0.02, "high": share + 0.02}


def task_report(share: float | None) -> dict[str, Any]:
    """Return the part of evaluation.json about one task; a share of None was skipped."""
    score = {"accuracy": interval_about(share)} if share else None
    return {
        "status": "skipped" if share is None else "scored",
        "reason": "no labels" if share is None else None,
        "kind": "classification", "metric": "accuracy", "margin": 0.02,
        "compared": "encoder/linear",
        "scores": {"encoder/linear": score, "encoder_int8/linear": score} if score else {},
    }  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Workshop:
    """One workspace and one registry, in which versions come and go."""

    root: Path
    config: PlatformConfig
    registry: InMemoryRegistry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = InMemoryRegistry(folder=self.root / "registry")

    @property
    def paths(self) -> Paths:
        return Paths(root=self.root / "checkout", workspace=self.root / "checkout")

    @property
    def ports(self) -> Ports:
        return Ports(
            tracker=NullTracker(),
            registry=self.registry,
            mapper=map_serially,
            data_versions={"dvc.samples": "5a"},
        )

    def train(self, seed: int) -> Receipt:
        """Put another model into the workspace, as pretrain would."""
        manifest = write_artifact(
            self.paths.model, tiny_encoder(seed), TINY_CONFIG, NORMS, random_pixels(4, seed=80)
        )
        facts = {
            "num_parameters": 12_345, "num_train_pixels": 678, "num_steps": 9,
            "model_digest": manifest.digest,
        }  # fmt: skip
        return self.record("pretrain", {"shuffle": self.chain["shuffle"]}, facts, self.paths.model)

    def evaluate(
        self,
        accuracy: float | None = 0.7,
        other: float | None = 0.7,
        labels: str = "labels-1",
        untrained: float = 0.45,
        majority: float = 0.5,
    ) -> Receipt:
        """Score the model in the workspace on two tasks beside baselines, as evaluate would."""
        pretrain = Receipt.read(self.paths.receipt("pretrain"))
        shares = {"crop_type": accuracy, "burned": other}
        evaluation = {
            "model_digest": self.model_digest,
            "protocol_digest": PROTOCOL,
            "labels_digest": labels,
            "tasks": {name: task_report(share) for name, share in shares.items()},
        }
        baselines = {"random_encoder/linear": untrained, "majority": majority}
        tables = [
            answers(name, model, right)
            for name, share in shares.items()
            if share
            for model, right in {"encoder/linear": share, **baselines}.items()
        ]
        for folder in (
            self.paths.evaluation, self.paths.evaluation_of(self.model_digest, PROTOCOL),
        ):  # fmt: skip
            with atomic_folder(folder) as building:
                write_json(building / "evaluation.json", evaluation)
                whole = pa.concat_tables([PREDICTIONS.empty_table(), *tables])
                write_table(whole, building / "predictions.parquet")
                write_manifest(building, "evaluation", {})
        upstream = {"ingest": self.chain["ingest"], "pretrain": pretrain.digest}
        facts = {
            "simulated": True,
            "model_digest": self.model_digest,
            "labels_digest": labels,
            "compared": dict.fromkeys(shares, "encoder/linear"),
            "headline": {
                name: {
                    "encoder/linear": {"accuracy": interval_about(share)},
                    "raw/linear": {"accuracy": interval_about(0.99)},
                }
                if share
                else {}
                for name, share in shares.items()
            },
        }  # fmt: skip
        return self.record("evaluate", upstream, facts, None)

    def compare(self, **changes: Any) -> None:
        """Compare the served model with that of the workspace, as the flow would."""
        served = self.registry.champion()
        if served is None or served.model_digest == self.model_digest:
            return
        comparison = {
            "champion": {"model_digest": served.model_digest, "num_parameters": 100},
            "challenger": {"model_digest": self.model_digest, "num_parameters": 100},
            "bridge": {"verdict": "bridgeable", "error": 0.3},
            "time_ratio": {"median": 1.0},
            **changes,
        }
        folder = self.paths.comparison_of(served.model_digest, self.model_digest, PROTOCOL)
        with atomic_folder(folder) as building:
            write_json(building / "comparison.json", comparison)
            write_manifest(building, "comparison", {})

    @property
    def chain(self) -> dict[str, str]:
        """Return digests of receipts that stand before training, writing them at first use."""
        ingest = self.record("ingest", {}, {}, None)
        quality = self.record("quality", {"ingest": ingest.digest}, {"verdict": "passed"}, None)
        upstream = {"ingest": ingest.digest, "quality": quality.digest}
        return {
            "ingest": ingest.digest,
            "shuffle": self.record("shuffle", upstream, {}, None).digest,
        }

    def record(
        self, stage: str, upstream: dict[str, str], facts: dict[str, Any], output: Path | None
    ) -> Receipt:
        manifests = () if output is None else (output / "manifest.json",)
        receipt = Receipt(
            stage=stage,
            config={},
            sources=(),
            upstream=upstream,
            outputs=tuple(digest_file(path, self.paths.workspace) for path in manifests),
            code=CODE,
            environment="e" * 64,
            facts=facts,
        )
        write_receipt(receipt, self.paths.receipt(stage), self.paths.lineage)
        return receipt

    @property
    def model_digest(self) -> str:
        """Digest of the model in the workspace."""
        return Manifest.read(self.paths.model).digest
