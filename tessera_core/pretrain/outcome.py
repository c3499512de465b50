"""What a training leaves: model artifact, history, figures, and the facts of its receipt."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from tessera_core.feed.reader import open_feed, read_norms
from tessera_core.model.artifact import load_artifact, write_artifact
from tessera_core.model.encoder import count_parameters
from tessera_core.pretrain.figures import draw_training
from tessera_core.pretrain.job import (
    is_trained,
    model_config,
    model_digest,
    train_job,
)
from tessera_core.pretrain.launch import launch_ranks
from tessera_core.records.files import atomic_folder, write_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from tessera_core.config import PlatformConfig
    from tessera_core.ports import Ports
    from tessera_core.pretrain.config import PretrainConfig
    from tessera_core.pretrain.loop import Trained
    from tessera_core.records.paths import Paths

NUM_CANARIES = 8
FIGURE_FOLDER = "training"


def train_or_import(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Train an encoder on the train split, or take an imported one, as a model artifact."""
    settings = config.pretrain
    if settings.imported is not None:
        return _take_imported(settings, paths)
    if settings.num_ranks > 1 and not is_trained(config, paths):
        launch_ranks(config, paths, ports.tracker)
    # With several ranks all steps are done by now, and this reads the last checkpoint.
    trained = train_job(config, paths, ports.tracker)
    feed, norms = open_feed(paths.shards, "train", paths.feed_cache), read_norms(paths.shards)
    model = model_config(settings)
    canaries = feed.pixels.take(np.arange(min(NUM_CANARIES, len(feed.pixels))))
    write_artifact(paths.model, trained.encoder, model, norms, canaries)
    with atomic_folder(paths.training) as folder:
        write_json(folder / "history.json", trained.history)
        draw_training(folder, trained, feed, norms, settings)
    for figure in _figures(paths):
        ports.tracker.log_artifact(figure, FIGURE_FOLDER)
    return _outcome(settings, paths, trained, len(feed.pixels))


def _outcome(settings: PretrainConfig, paths: Paths, trained: Trained, num_pixels: int) -> Outcome:
    last = trained.history[-1]
    chosen = trained.selected
    facts = {
        "seed": settings.seed,
        "num_steps": settings.num_steps,
        "num_parameters": count_parameters(trained.encoder),
        "num_train_pixels": num_pixels,
        "model_digest": load_artifact(paths.model).digest,
        "shards": Manifest.read(paths.shards).digest,
        "teacher": model_digest(paths.root, settings.teacher),
        "selected": None if chosen is None else {"step": chosen.step, "score": chosen.score},
        "final": {name: value for name, value in last.items() if name != "step"},
    }
    return Outcome(outputs=_outputs(paths), facts=facts)


def _take_imported(settings: PretrainConfig, paths: Paths) -> Outcome:
    """Copy an imported artifact to where training would have left one."""
    source = paths.root / str(settings.imported)
    artifact = load_artifact(source)
    with atomic_folder(paths.model) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    with atomic_folder(paths.training) as folder:
        write_json(folder / "history.json", [])
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
        "selected": None,
        "final": {},
    }
    return Outcome(outputs=_outputs(paths), facts=facts)


def _outputs(paths: Paths) -> tuple[Path, ...]:
    """Return all that the stage vouches for: a figure, too, shows what nobody may change."""
    return (paths.model / MANIFEST_NAME, paths.training / "history.json", *_figures(paths))


def _figures(paths: Paths) -> list[Path]:
    return sorted(paths.training.glob("*.png"))
