"""What shuffling, the mix term and the kind of views do to a model: ``ablation.py CHECKOUT``.

Trains on the shards of a checkout in which ``tessera retrain`` has run, with its settings and one
change at a time, two seeds each, and scores every encoder on all labelled fields. On simulated
scenes this shows how the machinery behaves, and nothing about the science.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from tessera_core.config import PARAMS_NAME, PlatformConfig
from tessera_core.domain.mixing import num_distinct
from tessera_core.feed.reader import Feed, open_feed, read_norms
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.ports import NullTracker
from tessera_core.pretrain.checkpoint import CheckpointPolicy
from tessera_core.pretrain.job import model_config, probe_labels
from tessera_core.pretrain.loop import train
from tessera_core.pretrain.probe import linear_probe_accuracy
from tessera_core.pretrain.step_order import rows_of_step
from tessera_core.records.labels import read_labels
from tessera_core.records.paths import Paths

SEEDS = (17, 18)
NUM_FOLDS = 4
MAX_PIXELS_PER_FIELD = 16
IN_STORED_ORDER = {"reshuffle": False}
VARIANTS = {
    "as shipped: shuffled, mix on, independent views": (False, {}),
    "shuffled once, no reshuffling": (False, IN_STORED_ORDER),
    "sorted by tile and row": (True, IN_STORED_ORDER),
    "mix term off": (False, {"mix_weight": 0.0}),
    "disjoint views": (False, {"views": "disjoint"}),
}


def sort_by_place(feed: Feed) -> Feed:
    """Return the d-pixels tile by tile and row by row, as a set that was never shuffled."""
    order = np.lexsort((feed.x, -feed.y, feed.tile))
    arrays = {name: getattr(feed, name)[order] for name in ("epsg", "x", "y", "tile")}
    return replace(feed, pixels=feed.pixels.take(order), is_resident=True, **arrays)


def hide_tiles(feed: Feed) -> Feed:
    """Return the feed as if all were one tile: training refuses a set that is not shuffled."""
    counts = np.array([len(feed.pixels)])
    return replace(feed, tile=np.zeros(len(feed.pixels), np.int32), tile_counts=counts)


def labelled_rows(feed: Feed, folders: list[Path], seed: int):
    """Return labelled d-pixels, a few of each field, with their classes and fields."""
    labels = read_labels(folders, feed.epsg, feed.x, feed.y)
    rows = np.flatnonzero((labels.crop_type > 0) & (labels.parcel > 0))
    rows = np.random.default_rng(seed).permutation(rows)
    order = np.argsort(labels.parcel[rows], kind="stable")
    fields = labels.parcel[rows][order]
    first = np.searchsorted(fields, fields)
    kept = rows[order][np.arange(len(rows)) - first < MAX_PIXELS_PER_FIELD]
    return kept, labels.crop_type[kept], labels.parcel[kept]


def main() -> None:
    """Train and print one line of JSON per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    chosen = parser.parse_args()
    root = chosen.checkout.absolute()
    config = PlatformConfig.read(root / PARAMS_NAME)
    paths = Paths(root=root, workspace=root)
    shuffled, norms = open_feed(paths.shards, "train", paths.feed_cache), read_norms(paths.shards)
    rows, classes, fields = labelled_rows(shuffled, probe_labels(config, paths), seed=1)
    scored = shuffled.pixels.take(rows)
    torch.set_num_threads(config.pretrain.num_threads)
    runs = [(name, seed) for name in VARIANTS for seed in SEEDS]
    for name, seed in tqdm(runs, desc="trainings"):
        is_sorted, changes = VARIANTS[name]
        settings = replace(config.pretrain, seed=seed, probe_every=0, **changes)
        feed = sort_by_place(shuffled) if is_sorted else shuffled
        model = model_config(settings)
        with tempfile.TemporaryDirectory() as folder:
            trained = train(
                settings, model.encoder, hide_tiles(feed), norms,
                checkpoints=CheckpointPolicy(folder=Path(folder), identity={}),
                tracker=NullTracker(), probe=None,
            )  # fmt: skip
        tiles = [
            num_distinct(feed.tile[rows_of_step(step, len(feed.pixels), settings)])
            for step in range(settings.num_steps)
        ]
        artifact = ModelArtifact(encoder=trained.encoder, config=model, norms=norms, digest="")
        accuracy = linear_probe_accuracy(
            embed_pixels(artifact, scored, batch_size=512), classes, fields,
            num_folds=NUM_FOLDS, seed=config.evaluate.seed,
        )  # fmt: skip
        last = trained.history[-1]
        print(json.dumps({
            "variant": name, "seed": seed, "probe": round(accuracy, 4),
            "rank": round(last["rank/embedding"], 4), "loss": round(last["loss/total"], 1),
            "tiles_per_batch": round(float(np.mean(tiles)), 2),
        }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
