"""Trained and scored models without training or scoring: real artifacts, real receipts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tessera_core.config import PlatformConfig
from tessera_core.model.artifact import write_artifact
from tessera_core.ports import NullTracker, Ports, map_serially
from tessera_core.records.code import CodeVersion
from tessera_core.records.files import digest_file
from tessera_core.records.manifest import Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.registry import InMemoryRegistry

CODE = CodeVersion(commit="c0ffee" * 6 + "c0de", dirty=False, closure="c" * 64)


def score(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02}


def scoring_facts(
    accuracy: float | None = 0.7, height: float | None = 0.5, labels: str = "labels-1"
) -> dict[str, Any]:
    """Facts of an evaluate receipt; a score of None is a skipped task."""
    headline, skipped = {}, {}
    if accuracy is None:
        skipped["crop_type"] = "no crop labels"
    else:
        headline["crop_type"] = {
            "encoder/linear": {"accuracy": score(accuracy), "macro_f1": score(accuracy - 0.1)},
            "raw/linear": {"accuracy": score(0.99)},
        }
    if height is None:
        skipped["canopy_height"] = "no heights"
    else:
        headline["canopy_height"] = {"encoder/ridge": {"r2": score(height)}}
    tasks = ("crop_type", "canopy_height")
    return {
        "labels_digest": labels,
        "simulated": True,
        "status": {task: "skipped" if task in skipped else "scored" for task in tasks},
        "skipped": skipped,
        "headline": headline,
    }


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
        return self.record("pretrain", {"shuffle": "5" * 64}, facts, self.paths.model)

    def evaluate(self, **scores: Any) -> Receipt:
        """Score the model in the workspace, as evaluate would."""
        pretrain = Receipt.read(self.paths.receipt("pretrain"))
        upstream = {"ingest": "1" * 64, "pretrain": pretrain.digest}
        return self.record("evaluate", upstream, scoring_facts(**scores), None)

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
