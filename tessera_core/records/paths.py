"""Where everything lives in a workspace. The one home of every file name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIGITS_OF_NAME: Final = 12
"""Digits of a digest that name a folder; who reads the folder checks the whole digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """All paths of one run.

    The *root* is the checkout: inputs, lineage and the DVC cache are shared there. The
    *workspace* holds what a run makes: the root itself for the settings in ``params.yaml``, a
    folder under ``data/runs`` for a run with overrides, so that trying something never
    disturbs the versioned state.
    """

    root: Path
    """Checkout folder; paths in settings are relative to it."""

    workspace: Path
    """Folder that outputs go to."""

    @property
    def data(self) -> Path:
        """Folder of everything a run makes."""
        return self.workspace / "data"

    @property
    def samples(self) -> Path:
        """Parquet d-pixels by tile and window, with scenes tables."""
        return self.data / "samples"

    @property
    def quality(self) -> Path:
        """Quality report."""
        return self.data / "quality"

    @property
    def shards(self) -> Path:
        """Globally shuffled samples, splits and norms."""
        return self.data / "shards"

    @property
    def model(self) -> Path:
        """The model artifact that pretraining made."""
        return self.data / "model"

    @property
    def training(self) -> Path:
        """History of pretraining."""
        return self.data / "training"

    @property
    def checkpoints(self) -> Path:
        """Where pretraining goes on from; one folder per identity of a run."""
        return self.data / "checkpoints"

    def all_checkpoints(self) -> list[Path]:
        """Return the checkpoint folders of all runs in all workspaces of the checkout."""
        patterns = ("data/checkpoints/*", "data/runs/*/data/checkpoints/*")
        return sorted(folder for pattern in patterns for folder in self.root.glob(pattern))

    @property
    def evaluation(self) -> Path:
        """Scores, figures and report of the trained model."""
        return self.data / "evaluation"

    @property
    def registration(self) -> Path:
        """Promotion decision and the champion's artifact."""
        return self.data / "registration"

    @property
    def champion(self) -> Path:
        """The model artifact that export uses."""
        return self.registration / "champion"

    @property
    def exports(self) -> Path:
        """Published embeddings, one immutable folder per champion and sample set."""
        return self.data / "exports"

    @property
    def audit(self) -> Path:
        """Certificates."""
        return self.data / "audit"

    @property
    def lineage(self) -> Path:
        """All receipts and manifests ever written, each named by its digest."""
        return self.root / "data" / "lineage"

    @property
    def attestations(self) -> Path:
        """Signed statements and standard documents, one folder per subject and content."""
        return self.root / "data" / "attestations"

    @property
    def feed_cache(self) -> Path:
        """Memory-mapped copies of shards, keyed by manifest digest; may be deleted."""
        return self.root / "data" / "cache"

    @property
    def baselines(self) -> Path:
        """Answers of models that no version changes, by digest; may be deleted."""
        return self.root / "data" / "baselines"

    @property
    def imported(self) -> Path:
        """Artifacts made from released weights, one folder per name and content."""
        return self.root / "data" / "imported"

    @property
    def sweeps(self) -> Path:
        """Tables of sweeps, one folder per base and grid."""
        return self.root / "data" / "sweeps"

    @property
    def replays(self) -> Path:
        """Reports of replays, one folder per version."""
        return self.root / "data" / "replays"

    def evaluation_of(self, model_digest: str, protocol_digest: str) -> Path:
        """Return where a version's answers to a protocol are kept, whoever asks again."""
        return self.root / "data" / "evaluations" / _joined(model_digest, protocol_digest)

    def comparison_of(self, champion: str, challenger: str, protocol_digest: str) -> Path:
        """Return where the comparison of two model digests under a protocol is kept."""
        name = _joined(champion, challenger, protocol_digest)
        return self.root / "data" / "comparisons" / name

    def recall_of(self, digest: str) -> Path:
        """Return where the record of a recall with this digest is kept."""
        return self.root / "data" / "recalls" / digest[:DIGITS_OF_NAME]

    @property
    def model_cache(self) -> Path:
        """Artifacts fetched from the registry, by digest; may be deleted."""
        return self.root / "data" / "cache" / "models"

    def workspaces(self) -> list[Path]:
        """Return the checkout and the workspace of every run with overrides in it."""
        return [self.root, *sorted(p for p in self.root.glob("data/runs/*") if p.is_dir())]

    @property
    def dvc_cache(self) -> Path:
        """DVC's store of file contents by md5."""
        return self.root / ".dvc" / "cache" / "files" / "md5"

    def receipt(self, stage: str) -> Path:
        """Return the path of a stage's current receipt."""
        return self.data / "receipts" / f"{stage}.json"


def _joined(*digests: str) -> str:
    return "-".join(digest[:DIGITS_OF_NAME] for digest in digests)
