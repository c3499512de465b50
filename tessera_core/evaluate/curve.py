"""The label-efficiency curve: how few labels are enough?

Each draw holds out one fold of fields, puts the labelled d-pixels of the others in random order
and takes the first 1, 5, 10 ... of each class, so larger sets contain the smaller ones and all
models see the same labels.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.evaluate.config import EvaluateConfig
from tessera_core.evaluate.probes import Probe, predict_forest
from tessera_core.evaluate.statistics import (
    DIGITS,
    classification_scores,
    confusion_by_group,
    interval,
)
from tessera_core.evaluate.tasks.result import FeatureSets
from tessera_core.pretrain.probe import predict_linear, standardise

Ints = npt.NDArray[np.int64]

METRIC: Final = "balanced_accuracy"
"""Labels are drawn evenly over classes, so the score is even over classes too."""

CURVE_TREES: Final = 50
"""Trees of the forest here; hundreds of forests are fitted."""

MAX_TEST_PIXELS: Final = 1000
"""D-pixels of the held-out fields that a draw is tested on."""

STREAM: Final = 1
"""Keeps the draws apart from other uses of the seed."""


def label_curve(
    features: FeatureSets,
    codes: Ints,
    folds: Ints,
    names: Mapping[int, str],
    settings: EvaluateConfig,
) -> dict[str, Any]:
    """Return the curve of each model: mean and 95 % range over draws per label count.

    Args:
        features: Of N d-pixels.
        codes: (N,) class codes.
        folds: (N,) fold of each; fields are whole.
        names: Class names by code.
        settings: Label counts, draws, folds, seed.
    """
    from tqdm import tqdm

    classes, truth = np.unique(codes, return_inverse=True)
    counts = settings.labels_per_class
    scores: dict[str, list[list[float]]] = {}
    least = np.full(len(classes), np.iinfo(np.int64).max)
    for draw in tqdm(range(settings.num_draws), desc="label curve", leave=False, disable=None):
        rng = np.random.default_rng([settings.seed, STREAM, draw])
        held_out = folds == draw % settings.num_folds
        pool = rng.permutation(np.flatnonzero(~held_out))
        test = np.sort(rng.permutation(np.flatnonzero(held_out))[:MAX_TEST_PIXELS])
        least = np.minimum(least, np.bincount(truth[pool], minlength=len(classes)))
        rank = rank_within(truth[pool])
        for name, classify in _models(features, pool, test, settings.num_trees, draw).items():
            drawn = [rank < count for count in counts]
            scores.setdefault(name, []).append(
                [_score(classify(rows, truth[pool[rows]]), truth[test], classes) for rows in drawn]
            )
    return {
        "metric": METRIC,
        "chance": round(1 / len(classes), DIGITS),
        "num_draws": settings.num_draws,
        "labels_per_class": list(counts),
        "series": {name: _summarise(np.array(values)) for name, values in scores.items()},
        "capped": {
            str(count): {
                names[int(code)]: int(most)
                for code, most in zip(classes, least, strict=True)
                if most < count
            }
            for count in counts
            if count > least.min()
        },
    }


def rank_within(classes: Ints) -> Ints:
    """Return how many earlier rows have the same class, (N,)."""
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(len(classes), np.int64)
    rank[order] = np.arange(len(classes)) - first
    return rank


Classify = Callable[[npt.NDArray[np.bool_], Ints], Ints]
"""(which of the pool are labelled, their classes) -> classes of the test d-pixels."""


def _models(
    features: FeatureSets, pool: Ints, test: Ints, num_trees: int, seed: int
) -> dict[str, Classify]:
    """Return the models of one draw by name."""
    linear = {
        "encoder/linear": features.encoder,
        "random_encoder/linear": features.random_encoder,
    }
    models: dict[str, Classify] = {}
    for name, values in linear.items():
        # Embeddings cost no label, so all of the pool may say how they are scaled.
        known, asked = standardise(values[pool], values[pool], values[test])
        models[name] = partial(_fit, predict_linear, known, asked)
    forest = partial(predict_forest, num_trees=min(num_trees, CURVE_TREES), seed=seed)
    models["raw_forest"] = partial(_fit, forest, features.raw[pool], features.raw[test])
    return models


def _fit(
    probe: Probe,
    pool: npt.NDArray[Any],
    test: npt.NDArray[Any],
    is_labelled: npt.NDArray[np.bool_],
    classes: Ints,
) -> Ints:
    predicted: Ints = probe(pool[is_labelled], classes, test)
    return predicted


def _score(predicted: Ints, truth: Ints, classes: Ints) -> float:
    whole = np.zeros_like(truth)
    confusion = confusion_by_group(truth, predicted, whole, 1, len(classes))[0]
    return float(classification_scores(confusion)[METRIC])


def _summarise(scores: npt.NDArray[np.float64]) -> dict[str, list[float]]:
    """Return mean, low and high per label count of scores (draw, count)."""
    points = [interval(float(column.mean()), column).to_dict() for column in scores.T]
    return {part: [point[part] for point in points] for part in ("mean", "low", "high")}
