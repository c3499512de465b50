"""Canopy height: how tall is the forest, in places no model was fitted on?"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.evaluate.config import EvaluateConfig
from tessera_core.evaluate.labelled import BLOCK_SIZE_M, Labelled
from tessera_core.evaluate.probes import (
    Probe,
    predict_forest_value,
    predict_out_of_fold,
    predict_ridge,
)
from tessera_core.evaluate.statistics import (
    estimate,
    estimate_difference,
    moments_by_group,
    regression_scores,
    resample_counts,
)
from tessera_core.evaluate.tasks.result import SCORED, SKIPPED, FeatureSets, TaskResult
from tessera_core.pretrain.probe import grouped_folds

TASK: Final = "canopy_height"
CHALLENGER: Final = "encoder/ridge"
BASELINES: Final = ("random_encoder/ridge", "raw_forest", "raw/ridge")


def score_canopy_height(
    labelled: Labelled,
    featurise: Callable[[Labelled], FeatureSets],
    settings: EvaluateConfig,
) -> TaskResult:
    """Score all models under block-disjoint folds, or say why that cannot be done.

    Args:
        labelled: D-pixels with a height, at most ``max_pixels_per_field`` of each block.
        featurise: Computes their features.
        settings: Folds, seeds.
    """
    num_blocks = len(np.unique(labelled.group))
    if len(labelled) == 0:
        return _skipped(
            "no d-pixel has a canopy height: there is no canopy_height.tif, or it lies elsewhere"
        )
    if num_blocks < settings.num_folds:
        return _skipped(
            f"heights lie in {num_blocks} blocks of {BLOCK_SIZE_M} m, fewer than "
            f"{settings.num_folds} folds"
        )
    if np.ptp(labelled.truth) == 0:
        return _skipped(f"all heights are {labelled.truth[0]:g} m: there is nothing to explain")

    stratum = np.zeros(len(labelled), np.int64)
    folds = grouped_folds(stratum, labelled.group, settings.num_folds, settings.seed)
    features = featurise(labelled)
    predictions = _predict(features, labelled.truth, folds, settings)
    report = {
        "status": SCORED,
        "reason": None,
        "num_pixels": len(labelled),
        "num_blocks": num_blocks,
        "block_size_m": BLOCK_SIZE_M,
        **_compare(predictions, labelled, settings),
    }
    return TaskResult(
        task=TASK, report=report, scored=labelled, folds=folds, predictions=predictions
    )


def _predict(
    features: FeatureSets,
    truth: npt.NDArray[np.float64],
    folds: npt.NDArray[np.int64],
    settings: EvaluateConfig,
) -> dict[str, Any]:
    """Return model -> out-of-fold heights in metres, (N,)."""
    forest: Probe = partial(predict_forest_value, num_trees=settings.num_trees, seed=settings.seed)
    models: dict[str, tuple[Probe, npt.NDArray[np.float32]]] = {
        "encoder/ridge": (predict_ridge, features.encoder),
        "random_encoder/ridge": (predict_ridge, features.random_encoder),
        "raw_forest": (forest, features.raw),
        "raw/ridge": (predict_ridge, features.raw),
    }
    return {
        name: predict_out_of_fold(probe, values, truth, folds)
        for name, (probe, values) in models.items()
    }


def _compare(
    predictions: dict[str, Any], labelled: Labelled, settings: EvaluateConfig
) -> dict[str, Any]:
    """Return scores and paired differences, with intervals over blocks."""
    blocks, block = np.unique(labelled.group, return_inverse=True)
    rng = np.random.default_rng(settings.seed)
    weights = resample_counts(len(blocks), settings.num_bootstraps, rng)
    scores = {}
    for name, predicted in predictions.items():
        moments = moments_by_group(labelled.truth, predicted, block, len(blocks))
        scores[name] = (
            regression_scores(moments.sum(axis=0)),
            regression_scores(weights @ moments),
        )
    return {
        "scores": {name: estimate(*pair) for name, pair in scores.items()},
        "differences": {
            f"{CHALLENGER} - {baseline}": estimate_difference(scores[CHALLENGER], scores[baseline])
            for baseline in BASELINES
        },
    }


def _skipped(reason: str) -> TaskResult:
    report = {
        "status": SKIPPED,
        "reason": reason,
        "num_pixels": 0,
        "num_blocks": 0,
        "block_size_m": BLOCK_SIZE_M,
        "scores": {},
        "differences": {},
    }
    return TaskResult(task=TASK, report=report)
