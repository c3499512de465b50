"""Scores with intervals: a cluster bootstrap over fields, in whole-array arithmetic.

Pixels of one field are near copies of each other, so fields are resampled, not pixels. Every
score is a function of sums over fields; a resample is a row of field counts, and all resamples
are one matrix product. The same counts serve all models, which makes differences paired.

Shapes: G fields, K classes, R resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
Scores = Mapping[str, Floats]

CONFIDENCE: Final = 0.95
CLASSIFICATION_METRICS: Final = ("accuracy", "balanced_accuracy", "macro_f1")
REGRESSION_METRICS: Final = ("r2", "global_rmse_m")
DIGITS: Final = 6
"""Decimals kept in reports; the intervals are far wider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and its interval."""

    mean: float
    """The score of all d-pixels."""

    low: float
    """Lower end of the 95 % interval."""

    high: float
    """Upper end of the 95 % interval."""

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return {
            "mean": round(self.mean, DIGITS),
            "low": round(self.low, DIGITS),
            "high": round(self.high, DIGITS),
        }


def resample_counts(num_groups: int, num_resamples: int, rng: np.random.Generator) -> Floats:
    """Return how often each field is drawn in each bootstrap resample, (R, G)."""
    share = np.full(num_groups, 1 / num_groups)
    return rng.multinomial(num_groups, share, size=num_resamples).astype(np.float64)


def confusion_by_group(
    truth: Ints, predicted: Ints, group: Ints, num_groups: int, num_classes: int
) -> Floats:
    """Return counts of d-pixels, (G, K, K): field, true class, predicted class.

    Args:
        truth: (N,) class numbers 0..K-1.
        predicted: (N,) class numbers 0..K-1.
        group: (N,) field numbers 0..G-1.
        num_groups: G.
        num_classes: K.
    """
    cell = (group.astype(np.int64) * num_classes + truth) * num_classes + predicted
    counts = np.bincount(cell, minlength=num_groups * num_classes**2)
    return counts.reshape(num_groups, num_classes, num_classes).astype(np.float64)


def classification_scores(confusion: Floats) -> dict[str, Floats]:
    """Return each metric of confusion matrices (..., K, K) as an array (...).

    Classes that a matrix has no truth for do not count in its means over classes.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    truths, guesses = confusion.sum(axis=-1), confusion.sum(axis=-2)
    exists = truths > 0
    num_classes = np.maximum(exists.sum(axis=-1), 1)
    recall = np.where(exists, hits / np.maximum(truths, 1), 0)
    f1 = np.where(exists, 2 * hits / np.maximum(truths + guesses, 1), 0)
    return {
        "accuracy": hits.sum(axis=-1) / np.maximum(truths.sum(axis=-1), 1),
        "balanced_accuracy": recall.sum(axis=-1) / num_classes,
        "macro_f1": f1.sum(axis=-1) / num_classes,
    }


def moments_by_group(truth: Floats, predicted: Floats, group: Ints, num_groups: int) -> Floats:
    """Return count, sum, sum of squares and squared error of each field, (G, 4).

    Args:
        truth: (N,); its mean is taken out first, which changes no score but keeps the digits.
        predicted: (N,).
        group: (N,) field numbers 0..G-1.
        num_groups: G.
    """
    centred = truth - truth.mean()
    parts = (np.ones_like(truth), centred, centred**2, (truth - predicted) ** 2)
    return np.stack(
        [np.bincount(group, weights=part, minlength=num_groups) for part in parts], axis=1
    )


def regression_scores(moments: Floats) -> dict[str, Floats]:
    """Return each metric of summed moments (..., 4) as an array (...)."""
    count, total, squares, error = np.moveaxis(moments, -1, 0)
    count = np.maximum(count, 1)
    spread = squares - total**2 / count
    r2 = 1 - np.divide(error, spread, out=np.ones_like(error), where=spread > 0)
    return {"r2": r2, "global_rmse_m": np.sqrt(error / count)}


def estimate(point: Scores, resampled: Scores) -> dict[str, dict[str, float]]:
    """Return metric -> mean, low, high for one model.

    Args:
        point: Metric -> score of all d-pixels, a scalar array.
        resampled: Metric -> scores of the resamples, (R,).
    """
    return {name: interval(float(point[name]), resampled[name]).to_dict() for name in point}


def estimate_difference(
    first: tuple[Scores, Scores], second: tuple[Scores, Scores]
) -> dict[str, dict[str, float]]:
    """Return metric -> mean, low, high of first minus second, paired by resample.

    Args:
        first: Point scores and resampled scores of one model.
        second: The same of the other, over the same resamples.
    """
    point = {name: first[0][name] - second[0][name] for name in first[0]}
    resampled = {name: first[1][name] - second[1][name] for name in first[1]}
    return estimate(point, resampled)


def interval(mean: float, draws: Floats) -> Estimate:
    """Return a number with the percentile interval of draws, (R,)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(mean=mean, low=float(low), high=float(high))
