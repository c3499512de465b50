"""The pretrain stage: shards in, model artifact out."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from tessera_core.model.artifact import load_artifact, write_artifact
from tessera_core.model.config import ModelConfig, own_config
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.encoder import Encoder, count_parameters
from tessera_core.model.releases import student_shape
from tessera_core.pretrain.loop import train
from tessera_core.pretrain.probe import linear_probe_accuracy, thin_classes
from tessera_core.records.code import closure_digest
from tessera_core.records.files import (
    FileDigest,
    atomic_folder,
    digest_file,
    digest_json,
    write_json,
)
from tessera_core.records.labels import UNLABELLED, label_folders, label_sources, read_labels
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.outcome import Outcome
from tessera_core.shuffle.reader import Feed, open_feed, read_norms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tessera_core.config import PlatformConfig
    from tessera_core.domain.norms import NormStats
    from tessera_core.ports import Ports
    from tessera_core.pretrain.config import PretrainConfig
    from tessera_core.records.paths import Paths

NUM_CANARIES = 8
NUM_PROBE_PIXELS = 1500
PROBE_FOLDS = 3
PROBE_BATCH = 512
MIN_CLASSES = 2


def sources(config: PlatformConfig, paths: Paths) -> tuple[FileDigest, ...]:
    """Return the label rasters of the probe, and the models that training starts from."""
    labels = label_sources(_label_folders(config, paths), paths.root)
    given = (config.pretrain.teacher, config.pretrain.imported)
    models = [paths.root / folder / MANIFEST_NAME for folder in given if folder is not None]
    return (*labels, *(digest_file(path, paths.root) for path in models))


def run(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Train an encoder on the train split, or take an imported one, as a model artifact."""
    settings = config.pretrain
    if settings.imported is not None:
        return _take_imported(settings, paths)
    # Sums in another order give other digits, and some kernels are not repeatable.
    torch.set_num_threads(settings.num_threads)
    torch.use_deterministic_algorithms(True)
    # Filling fresh tensors with NaN finds reads of uninitialised memory, at an eighth of the step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    shards = Manifest.read(paths.shards)
    norms = read_norms(paths.shards)
    feed = open_feed(paths.shards, "train", paths.feed_cache)
    teacher = None if settings.teacher is None else load_artifact(paths.root / settings.teacher)
    model = model_config(settings)
    probe = _build_probe(config, paths, feed, norms, model) if settings.probe_every else None
    trained = train(
        settings,
        model.encoder,
        feed.pixels,
        norms,
        checkpoints=paths.checkpoints / _run_identity(config, shards, teacher),
        tracker=ports.tracker,
        probe=probe,
        teacher=teacher,
    )
    canaries = feed.pixels.take(np.arange(min(NUM_CANARIES, len(feed.pixels))))
    write_artifact(paths.model, trained.encoder, model, norms, canaries)
    write_json(paths.training / "history.json", trained.history)
    last = trained.history[-1]
    facts = {
        "seed": settings.seed,
        "num_steps": settings.num_steps,
        "num_parameters": count_parameters(trained.encoder),
        "num_train_pixels": len(feed.pixels),
        "model_digest": load_artifact(paths.model).digest,
        "shards": shards.digest,
        "teacher": None if teacher is None else teacher.digest,
        "final": {name: value for name, value in last.items() if name != "step"},
    }
    outputs = (paths.model / MANIFEST_NAME, paths.training / "history.json")
    return Outcome(outputs=outputs, facts=facts)


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


def _take_imported(settings: PretrainConfig, paths: Paths) -> Outcome:
    """Copy an imported artifact to where training would have left one."""
    source = paths.root / str(settings.imported)
    artifact = load_artifact(source)
    with atomic_folder(paths.model) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    write_json(paths.training / "history.json", [])
    facts = {
        "seed": settings.seed,
        "num_steps": 0,
        "num_parameters": count_parameters(artifact.encoder),
        "num_train_pixels": 0,
        "model_digest": artifact.digest,
        "shards": Manifest.read(paths.shards).digest,
        "teacher": None,
        "imported": {
            "family": artifact.config.family,
            **Manifest.read(source).facts.get("source", {}),
        },
        "final": {},
    }
    outputs = (paths.model / MANIFEST_NAME, paths.training / "history.json")
    return Outcome(outputs=outputs, facts=facts)


def _run_identity(config: PlatformConfig, shards: Manifest, teacher: ModelArtifact | None) -> str:
    """Return the name of the checkpoint folder: only an equal run may go on from it."""
    identity = {
        "config": config.section("pretrain"),
        "shards": shards.digest,
        "teacher": None if teacher is None else teacher.digest,
        "code": closure_digest(__name__),
    }
    return digest_json(identity)[:16]


def _label_folders(config: PlatformConfig, paths: Paths) -> list[Path]:
    ingest = config.ingest
    return label_folders(paths.root, config.evaluate.labels, ingest.source, ingest.path)


def _build_probe(
    config: PlatformConfig, paths: Paths, feed: Feed, norms: NormStats, model: ModelConfig
) -> Callable[[Encoder], float] | None:
    """Return a function that scores an encoder on crop labels, or None without labels."""
    labels = read_labels(_label_folders(config, paths), feed.epsg, feed.x, feed.y)
    labelled = np.flatnonzero((labels.crop_type != UNLABELLED) & (labels.parcel > 0))
    # The feed is shuffled, so its first labelled d-pixels are a random draw.
    rows = labelled[:NUM_PROBE_PIXELS]
    thin = thin_classes(labels.crop_type[rows], labels.parcel[rows], PROBE_FOLDS)
    if len(np.unique(labels.crop_type[rows])) - len(thin) < MIN_CLASSES:
        return None
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
