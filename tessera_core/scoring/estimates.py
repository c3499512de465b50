"""Predictions to scores: sums over groups, one bootstrap for all models, differences paired."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import EvaluateConfig
from tessera_core.domain.bootstrap import (
    DIGITS,
    count_blocks,
    estimate,
    estimate_difference,
    resampled_scores,
)
from tessera_core.domain.scores import Kind, scores, tally
from tessera_core.records.standing import is_baseline

Predictions = Mapping[str, npt.NDArray[np.float64]]
"""Model -> (U,) or (U, L), NaN where it was not tested."""

MIN_GROUPS_PER_REGION: Final = 5
"""A region with fewer groups says nothing about regions."""


def is_tested(predicted: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which units have a prediction, (U,)."""
    finite = np.isfinite(predicted).reshape(len(predicted), -1)
    return np.asarray(finite.all(axis=1))


def tallies(
    kind: Kind,
    truth: npt.NDArray[np.float64],
    predictions: Predictions,
    group: npt.NDArray[np.int64],
    num_classes: int,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the sums of each model over groups, (G, ...), of the units that all were tested on.

    Args:
        kind: Of the task.
        truth: (U,) class numbers or values, NaN = not labelled; (U, L) of 0 and 1.
        predictions: Of the models.
        group: (U,).
        num_classes: K, or L of several labels; unused for values.
    """
    usable = is_tested(truth)
    for predicted in predictions.values():
        usable &= is_tested(predicted)
    groups, number = np.unique(group[usable], return_inverse=True)
    return {
        name: tally(kind, truth[usable], predicted[usable], number, len(groups), num_classes)
        for name, predicted in predictions.items()
    }


def compare(
    kind: Kind,
    sums: Mapping[str, npt.NDArray[np.float64]],
    metrics: tuple[str, ...],
    compared: str,
    settings: EvaluateConfig,
) -> dict[str, Any]:
    """Return scores of all models and how far the compared one is above each of its baselines.

    Args:
        kind: Of the task.
        sums: Model -> (G, ...) from ``tallies``.
        metrics: Which metrics to report.
        compared: The model that baselines are set against.
        settings: Bootstrap resamples and seed.
    """
    num_groups = len(next(iter(sums.values())))
    rng = np.random.default_rng(settings.seed)
    blocks = count_blocks(num_groups, settings.num_bootstraps, rng)
    resampled = resampled_scores(kind, sums, blocks)
    found = {}
    for name, by_group in sums.items():
        point, drawn = scores(kind, by_group.sum(axis=0)), resampled[name]
        found[name] = (
            {metric: point[metric] for metric in metrics},
            {metric: drawn[metric] for metric in metrics},
        )
    return {
        "scores": {name: estimate(*pair, num_groups=num_groups) for name, pair in found.items()},
        "differences": {
            f"{compared} - {name}": estimate_difference(
                found[compared], found[name], num_groups=num_groups
            )
            for name in found
            if is_baseline(name)
        },
    }


def by_region(
    kind: Kind,
    truth: npt.NDArray[np.float64],
    predictions: Predictions,
    group: npt.NDArray[np.int64],
    region: npt.NDArray[np.str_],
    num_classes: int,
    metric: str,
) -> dict[str, dict[str, float]]:
    """Return region -> model -> score in one metric, for regions with enough groups."""
    found = {}
    for name in np.unique(region):
        inside = region == name
        if not name or len(np.unique(group[inside])) < MIN_GROUPS_PER_REGION:
            continue
        part = {model: predicted[inside] for model, predicted in predictions.items()}
        sums = tallies(kind, truth[inside], part, group[inside], num_classes)
        if not len(next(iter(sums.values()))):
            continue
        found[str(name)] = {
            model: round(float(scores(kind, one.sum(axis=0))[metric]), DIGITS)
            for model, one in sums.items()
        }
    return found
