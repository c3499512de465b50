"""Crop type: can a small model tell the crops of fields it has never seen?"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.evaluate.config import EvaluateConfig
from tessera_core.evaluate.curve import label_curve
from tessera_core.evaluate.labelled import Labelled
from tessera_core.evaluate.probes import (
    Probe,
    predict_forest,
    predict_knn,
    predict_majority,
    predict_out_of_fold,
    predict_standardised_linear,
)
from tessera_core.evaluate.statistics import (
    classification_scores,
    confusion_by_group,
    estimate,
    estimate_difference,
    resample_counts,
)
from tessera_core.evaluate.tasks.result import SCORED, SKIPPED, FeatureSets, TaskResult
from tessera_core.pretrain.probe import MIN_CLASSES, fields_per_class, grouped_folds

Ints = npt.NDArray[np.int64]

TASK: Final = "crop_type"
CHALLENGER: Final = "encoder/linear"
BASELINES: Final = ("random_encoder/linear", "raw_forest", "raw/linear")


def score_crop_type(
    labelled: Labelled,
    featurise: Callable[[Labelled], FeatureSets],
    legend: Mapping[int, str],
    settings: EvaluateConfig,
) -> TaskResult:
    """Score all models under field-disjoint folds, or say why that cannot be done.

    Args:
        labelled: D-pixels with a crop code, at most ``max_pixels_per_field`` of each field.
        featurise: Computes the features of the d-pixels that remain.
        legend: Names by code; a code without a name is called by its number.
        settings: Folds, draws, seeds.
    """
    codes = labelled.truth.astype(np.int64)
    num_fields = fields_per_class(codes, labelled.group)
    names = class_names(list(num_fields), legend)
    kept = [code for code, count in num_fields.items() if count >= settings.num_folds]
    left_out = {
        names[code]: {
            "code": code,
            "num_fields": count,
            "num_pixels": int((codes == code).sum()),
            "reason": f"{count} field{'s' * (count != 1)}, fewer than {settings.num_folds} folds",
        }
        for code, count in num_fields.items()
        if code not in kept
    }
    if len(kept) < MIN_CLASSES:
        return _skipped(_reason(num_fields, settings.num_folds), left_out)

    scored = labelled.take(np.flatnonzero(np.isin(codes, kept)))
    codes = scored.truth.astype(np.int64)
    folds = grouped_folds(codes, scored.group, settings.num_folds, settings.seed)
    features = featurise(scored)
    predictions = _predict(features, codes, folds, settings)
    num_fields = fields_per_class(codes, scored.group)
    report = {
        "status": SCORED,
        "reason": None,
        "num_pixels": len(scored),
        "num_fields": len(np.unique(scored.group)),
        "classes": {
            names[code]: {
                "code": code,
                "num_fields": num_fields[code],
                "num_pixels": int((codes == code).sum()),
            }
            for code in kept
        },
        "left_out": left_out,
        **_compare(predictions, codes, scored.group, settings),
        "curve": label_curve(features, codes, folds, names, settings),
    }
    return TaskResult(task=TASK, report=report, scored=scored, folds=folds, predictions=predictions)


def class_names(codes: list[int], legend: Mapping[int, str]) -> dict[int, str]:
    """Return a distinct name for each code: the legend's, else the number."""
    plain = {code: legend.get(code, str(code)) for code in codes}
    names = list(plain.values())
    return {
        code: name if names.count(name) == 1 else f"{name} ({code})" for code, name in plain.items()
    }


def _predict(
    features: FeatureSets, codes: Ints, folds: Ints, settings: EvaluateConfig
) -> dict[str, Ints]:
    """Return model -> out-of-fold class codes, (N,)."""
    from tqdm import tqdm

    knn: Probe = partial(predict_knn, num_neighbours=settings.num_neighbours)
    forest: Probe = partial(predict_forest, num_trees=settings.num_trees, seed=settings.seed)
    models: dict[str, tuple[Probe, npt.NDArray[np.float32]]] = {
        "encoder/linear": (predict_standardised_linear, features.encoder),
        "encoder_int8/linear": (predict_standardised_linear, features.encoder_int8),
        **{
            f"encoder_{dim}/linear": (predict_standardised_linear, values)
            for dim, values in features.prefixes.items()
        },
        "encoder/knn": (knn, features.encoder),
        "random_encoder/linear": (predict_standardised_linear, features.random_encoder),
        "random_encoder/knn": (knn, features.random_encoder),
        "raw_forest": (forest, features.raw),
        "raw/linear": (predict_standardised_linear, features.raw),
        "majority": (predict_majority, features.raw),
    }
    progress = tqdm(models.items(), desc="crop type", leave=False, disable=None)
    return {
        name: predict_out_of_fold(probe, values, codes, folds) for name, (probe, values) in progress
    }


def _compare(
    predictions: Mapping[str, Ints], codes: Ints, groups: Ints, settings: EvaluateConfig
) -> dict[str, Any]:
    """Return scores, paired differences and the confusion matrix of the challenger."""
    classes, truth = np.unique(codes, return_inverse=True)
    fields, field = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(settings.seed)
    weights = resample_counts(len(fields), settings.num_bootstraps, rng)
    scores, confusions = {}, {}
    for name, predicted in predictions.items():
        guess = np.searchsorted(classes, predicted)
        by_field = confusion_by_group(truth, guess, field, len(fields), len(classes))
        confusions[name] = by_field.sum(axis=0)
        resampled = (weights @ by_field.reshape(len(fields), -1)).reshape(-1, *by_field.shape[1:])
        scores[name] = (
            classification_scores(confusions[name]),
            classification_scores(resampled),
        )
    return {
        "scores": {name: estimate(*pair) for name, pair in scores.items()},
        "differences": {
            f"{CHALLENGER} - {baseline}": estimate_difference(scores[CHALLENGER], scores[baseline])
            for baseline in BASELINES
        },
        "confusion": {"model": CHALLENGER, "counts": confusions[CHALLENGER].astype(int).tolist()},
    }


def _reason(num_fields: Mapping[int, int], num_folds: int) -> str:
    if not num_fields:
        return "no d-pixel has a crop label: there is no crop_type.tif, or it lies elsewhere"
    enough = sum(count >= num_folds for count in num_fields.values())
    return (
        f"{enough} of {len(num_fields)} labelled classes have {num_folds} fields or more, one per "
        f"fold; {MIN_CLASSES} such classes are needed"
    )


def _skipped(reason: str, left_out: Mapping[str, Any]) -> TaskResult:
    report = {
        "status": SKIPPED,
        "reason": reason,
        "num_pixels": 0,
        "num_fields": 0,
        "classes": {},
        "left_out": dict(left_out),
        "scores": {},
        "differences": {},
        "confusion": None,
        "curve": None,
    }
    return TaskResult(task=TASK, report=report)
