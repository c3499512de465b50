"""One training as a process does it: alone, or as one rank of several."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from tessera_core.feed.reader import Feed, open_feed, read_norms
from tessera_core.model.artifact import best_device, load_artifact
from tessera_core.model.config import ModelConfig, own_config
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.releases import student_shape
from tessera_core.pretrain.checkpoint import (
    CheckpointPolicy,
    last_step,
    sole_owner,
    unfinished_relatives,
)
from tessera_core.pretrain.loop import Trained, train
from tessera_core.pretrain.probe import linear_probe_accuracy, thin_classes
from tessera_core.pretrain.ranks import Ranks, alone
from tessera_core.records.code import closure_digest
from tessera_core.records.files import digest_json
from tessera_core.records.labels import UNLABELLED, label_folders, read_labels
from tessera_core.records.manifest import Manifest
from tessera_core.records.selection_fields import selection_fields

if TYPE_CHECKING:
    from pathlib import Path

    from tessera_core.config import PlatformConfig
    from tessera_core.domain.norms import NormStats
    from tessera_core.model.encoder import Encoder
    from tessera_core.ports import Tracker
    from tessera_core.pretrain.config import PretrainConfig
    from tessera_core.pretrain.selection import Probe
    from tessera_core.records.paths import Paths

NUM_PROBE_PIXELS = 1500
PROBE_FOLDS = 3
PROBE_BATCH = 512
MIN_CLASSES = 2

RUN_STAGE = "tessera_core.pretrain.stage"
"""The module whose import closure is the code of a run."""


def train_job(
    config: PlatformConfig, paths: Paths, tracker: Tracker, ranks: Ranks | None = None
) -> Trained:
    """Train as the settings say, or read back what was trained to the end.

    Args:
        config: All settings.
        paths: Where shards and checkpoints are.
        tracker: Where rank 0 reports to.
        ranks: This process among all, or None for one that is alone on the best device.
    """
    ranks = ranks or alone(best_device())
    settings = config.pretrain
    # Sums in another order give other digits, and some kernels are not repeatable; a GPU has
    # products that are only so under an environment variable, which is not ours to set.
    torch.set_num_threads(settings.num_threads)
    torch.use_deterministic_algorithms(True, warn_only=ranks.device.type == "cuda")
    # Filling fresh tensors with NaN finds reads of uninitialised memory, at an eighth of the step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    teacher = None
    if settings.teacher is not None:
        teacher = load_artifact(paths.root / settings.teacher, ranks.device)
    policy = checkpoint_policy(config, paths)
    feed = open_feed(paths.shards, "train", paths.feed_cache)
    norms, model = read_norms(paths.shards), model_config(settings)
    probe = None
    if ranks.is_first and settings.probe_every:
        probe = _build_probe(config, paths, feed, norms, model)
    run = partial(
        train, settings, model.encoder, feed, norms,
        checkpoints=policy, tracker=tracker, probe=probe, teacher=teacher, ranks=ranks,
    )  # fmt: skip
    if not ranks.is_first:
        return run()
    for sentence in unfinished_relatives(policy, paths.all_checkpoints(), paths.root):
        tqdm.write(f"starting anew: {sentence}", file=sys.stderr)
    with sole_owner(policy.folder):
        return run()


def model_config(settings: PretrainConfig) -> ModelConfig:
    """Return the model that the settings ask for, of the shape of a v2 student."""
    shape = student_shape(
        model_dim=settings.model_dim,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        feedforward_dim=settings.feedforward_dim,
        embedding_dim=settings.embedding_dim,
        dropout=settings.dropout,
    )
    return own_config(shape, is_matryoshka=settings.teacher is not None)


def checkpoint_policy(config: PlatformConfig, paths: Paths) -> CheckpointPolicy:
    """Return where a run's checkpoints are: a folder that only an equal run ever opens."""
    settings = config.pretrain
    own = config.section("pretrain")
    del own["continue_from"], own["accept_changes"]
    identity: dict[str, Any] = {
        "pretrain": own,
        "shards": Manifest.read(paths.shards).digest,
        "teacher": model_digest(paths.root, settings.teacher),
        "code": closure_digest(RUN_STAGE),
    }
    start = settings.continue_from
    return CheckpointPolicy(
        # Where a run began is part of what it is.
        folder=paths.checkpoints / digest_json(identity | {"continued": start})[:16],
        identity=identity,
        continue_from=None if start is None else paths.root / start,
        accept_changes=settings.accept_changes,
    )


def model_digest(root: Path, folder: str | None) -> str | None:
    """Return the digest of a model artifact that the settings name, or None for none."""
    return None if folder is None else Manifest.read(root / folder).digest


def is_trained(config: PlatformConfig, paths: Paths) -> bool:
    """Return whether the last checkpoint is there, made here or by ranks on other machines."""
    return last_step(checkpoint_policy(config, paths)) == config.pretrain.num_steps


def probe_labels(config: PlatformConfig, paths: Paths) -> list[Path]:
    """Return the folders of the labels that the probe sees a part of."""
    ingest = config.ingest
    return label_folders(paths.root, config.evaluate.labels, ingest.source, ingest.path)


def _build_probe(
    config: PlatformConfig, paths: Paths, feed: Feed, norms: NormStats, model: ModelConfig
) -> Probe | None:
    """Return a function that scores an encoder on the fields for selection, None without any."""
    folders = probe_labels(config, paths)
    labels = read_labels(folders, feed.epsg, feed.x, feed.y)
    chosen = np.isin(labels.parcel, selection_fields(folders))
    # The feed is shuffled, so its first labelled d-pixels are a random draw.
    rows = np.flatnonzero(chosen & (labels.crop_type != UNLABELLED))[:NUM_PROBE_PIXELS]
    thin = thin_classes(labels.crop_type[rows], labels.parcel[rows], PROBE_FOLDS)
    if len(np.unique(labels.crop_type[rows])) - len(thin) < MIN_CLASSES:
        return None
    # Here, not in the probe's thread: two threads that import at a time may wait for each other.
    import sklearn.linear_model  # noqa: F401

    pixels = feed.pixels.take(rows)
    score = partial(
        linear_probe_accuracy,
        classes=labels.crop_type[rows],
        groups=labels.parcel[rows],
        num_folds=PROBE_FOLDS,
        seed=config.pretrain.seed,
    )

    def probe(encoder: Encoder) -> float:
        artifact = ModelArtifact(encoder=encoder, config=model, norms=norms, digest="")
        return score(embed_pixels(artifact, pixels, batch_size=PROBE_BATCH))

    return probe
