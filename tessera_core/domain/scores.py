"""Metrics as functions of sums over groups, so that resampling groups is one matrix product.

A *tally* holds, for each group (field, block, chip), counts or sums of its units; every metric is a
function of tallies added up. Which metrics there are, and of what, stands in ``METRICS``.

Shapes: N units, G groups, K classes, L labels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import ConfigError, did_you_mean

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]


class Kind(StrEnum):
    """What a task predicts."""

    CLASSIFICATION = "classification"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"
    SEGMENTATION = "segmentation"
    CHANGE = "change"


class Unit(StrEnum):
    """How a score is to be read."""

    SHARE = "share"
    """0..1, shown in per cent."""

    PLAIN = "plain"
    """A number without a unit."""

    OF_TRUTH = "unit of the truth"
    """Metres, Mg/ha ..., whatever is predicted."""


_CLASSES: Final = frozenset({Kind.CLASSIFICATION, Kind.SEGMENTATION, Kind.CHANGE})
_POSITIVE: Final = 1
"""Class number of a change that has happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One score."""

    title: str
    """For people."""

    kinds: frozenset[Kind]
    """Kinds of task that have it."""

    unit: Unit = Unit.SHARE
    higher_is_better: bool = True


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "accuracy": Metric(title="accuracy", kinds=_CLASSES),
        "balanced_accuracy": Metric(title="balanced accuracy", kinds=_CLASSES),
        "macro_f1": Metric(title="macro F1", kinds=_CLASSES | {Kind.MULTILABEL}),
        "weighted_f1": Metric(title="weighted F1", kinds=_CLASSES),
        "mean_iou": Metric(title="mean IoU", kinds=_CLASSES),
        "f1": Metric(title="F1 of change", kinds=frozenset({Kind.CHANGE})),
        "iou": Metric(title="IoU of change", kinds=frozenset({Kind.CHANGE})),
        "micro_f1": Metric(title="micro F1", kinds=frozenset({Kind.MULTILABEL})),
        "r2": Metric(title="R\u00b2", kinds=frozenset({Kind.REGRESSION}), unit=Unit.PLAIN),
        "global_rmse": Metric(
            title="RMSE over all d-pixels", kinds=frozenset({Kind.REGRESSION}),
            unit=Unit.OF_TRUTH, higher_is_better=False,
        ),
        "per_chip_rmse": Metric(
            title="RMSE per chip, averaged", kinds=frozenset({Kind.REGRESSION}),
            unit=Unit.OF_TRUTH, higher_is_better=False,
        ),
        "mae": Metric(
            title="mean absolute error", kinds=frozenset({Kind.REGRESSION}),
            unit=Unit.OF_TRUTH, higher_is_better=False,
        ),
        "bias": Metric(
            title="mean error", kinds=frozenset({Kind.REGRESSION}), unit=Unit.OF_TRUTH,
            higher_is_better=False,
        ),
    }
)  # fmt: skip
"""Every metric. RMSE over all d-pixels and the mean of each chip's RMSE are two different numbers
under one name in the literature (method.md 12), hence the long names. ``bias`` has no
better direction and cannot decide."""

CANNOT_DECIDE: Final = ("bias",)


def require_metrics(kind: Kind, metrics: tuple[str, ...], where: str) -> None:
    """Refuse metrics that do not exist, or not for this kind of task.

    Raises:
        ConfigError: There is none, or one is unknown, of another kind, or cannot decide.
    """
    fitting = [name for name, metric in METRICS.items() if kind in metric.kinds]
    if not metrics:
        raise ConfigError(f"{where}: it has no metric. Known: {', '.join(fitting)}.")
    for name in metrics:
        if name not in METRICS:
            raise ConfigError(f"{where}: {name} is not a metric. {did_you_mean(name, fitting)}")
        if name not in fitting:
            raise ConfigError(
                f"{where}: {name} is no metric of {kind}; expected one of {', '.join(fitting)}"
            )
    if metrics[0] in CANNOT_DECIDE:
        raise ConfigError(f"{where}: {metrics[0]} has no better direction; put another one first")


def metric_title(name: str) -> str:
    """Return what a metric is called on pages.

    >>> metric_title("macro_f1")
    'macro F1'
    """
    return METRICS[name].title


def is_share(name: str) -> bool:
    """Return whether a metric is shown in per cent.

    >>> is_share("accuracy"), is_share("r2")
    (True, False)
    """
    return METRICS[name].unit == Unit.SHARE


def tally(
    kind: Kind,
    truth: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    group: Ints,
    num_groups: int,
    num_classes: int,
) -> Floats:
    """Return the sums of each group.

    Args:
        kind: Of the task.
        truth: (N,) class numbers 0..K-1 or values; (N, L) of 0 and 1. No NaN.
        predicted: As truth.
        group: (N,) group numbers 0..G-1.
        num_groups: G.
        num_classes: K or L; unused for values.

    Returns:
        (G, K, K) counts by true and predicted class; (G, L, 2, 2) likewise for each label;
        (G, 8) sums for values.
    """
    if kind == Kind.REGRESSION:
        return _moments(truth.astype(np.float64), predicted.astype(np.float64), group, num_groups)
    if kind == Kind.MULTILABEL:
        columns = [
            _confusion(truth[:, label], predicted[:, label], group, num_groups, 2)
            for label in range(num_classes)
        ]
        return np.stack(columns, axis=1)
    return _confusion(truth, predicted, group, num_groups, num_classes)


def scores(kind: Kind, sums: Floats) -> dict[str, Floats]:
    """Return each metric of added tallies (..., *tally) as an array (...)."""
    of_kind: dict[Kind, Callable[[Floats], dict[str, Floats]]] = {
        Kind.CLASSIFICATION: _class_scores,
        Kind.SEGMENTATION: _class_scores,
        Kind.CHANGE: lambda confusion: _class_scores(confusion) | _change_scores(confusion),
        Kind.MULTILABEL: _label_scores,
        Kind.REGRESSION: _value_scores,
    }
    return of_kind[kind](sums)


def _confusion(
    truth: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    group: Ints,
    num_groups: int,
    num_classes: int,
) -> Floats:
    cell = (group.astype(np.int64) * num_classes + truth.astype(np.int64)) * num_classes
    counts = np.bincount(cell + predicted.astype(np.int64), minlength=num_groups * num_classes**2)
    return counts.reshape(num_groups, num_classes, num_classes).astype(np.float64)


def _class_scores(confusion: Floats) -> dict[str, Floats]:
    """Return metrics of (..., K, K); classes without truth do not count in means over classes."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    truths, guesses = confusion.sum(axis=-1), confusion.sum(axis=-2)
    exists = truths > 0
    num_classes = np.maximum(exists.sum(axis=-1), 1)
    recall = np.where(exists, hits / np.maximum(truths, 1), 0)
    f1 = np.where(exists, 2 * hits / np.maximum(truths + guesses, 1), 0)
    iou = np.where(exists, hits / np.maximum(truths + guesses - hits, 1), 0)
    total = np.maximum(truths.sum(axis=-1), 1)
    return {
        "accuracy": hits.sum(axis=-1) / total,
        "balanced_accuracy": recall.sum(axis=-1) / num_classes,
        "macro_f1": f1.sum(axis=-1) / num_classes,
        "weighted_f1": (f1 * truths).sum(axis=-1) / total,
        "mean_iou": iou.sum(axis=-1) / num_classes,
    }


def _change_scores(confusion: Floats) -> dict[str, Floats]:
    """Return metrics of the positive class of (..., 2, 2)."""
    hits = confusion[..., _POSITIVE, _POSITIVE]
    marked = confusion[..., _POSITIVE, :].sum(axis=-1) + confusion[..., :, _POSITIVE].sum(axis=-1)
    return {"f1": 2 * hits / np.maximum(marked, 1), "iou": hits / np.maximum(marked - hits, 1)}


def _label_scores(confusion: Floats) -> dict[str, Floats]:
    """Return metrics of (..., L, 2, 2); labels that nothing has do not count in the mean."""
    hits = confusion[..., 1, 1]
    marked = confusion[..., 1, :].sum(axis=-1) + confusion[..., :, 1].sum(axis=-1)
    exists = confusion[..., 1, :].sum(axis=-1) > 0
    f1 = np.where(exists, 2 * hits / np.maximum(marked, 1), 0)
    return {
        "macro_f1": f1.sum(axis=-1) / np.maximum(exists.sum(axis=-1), 1),
        "micro_f1": 2 * hits.sum(axis=-1) / np.maximum(marked.sum(axis=-1), 1),
    }


def _moments(truth: Floats, predicted: Floats, group: Ints, num_groups: int) -> Floats:
    """Return (G, 8): units, truth, truth^2, error^2, |error|, error, RMSE, groups.

    The mean of the truth is taken out first, which changes no score but keeps the digits.
    """
    centred, error = truth - truth.mean(), predicted - truth
    parts = (np.ones_like(truth), centred, centred**2, error**2, np.abs(error), error)
    sums = [np.bincount(group, weights=part, minlength=num_groups) for part in parts]
    rmse = np.sqrt(sums[3] / np.maximum(sums[0], 1))
    return np.stack([*sums, rmse, (sums[0] > 0).astype(np.float64)], axis=1)


def _value_scores(moments: Floats) -> dict[str, Floats]:
    """Return metrics of (..., 8)."""
    count, total, squares, squared, absolute, error, rmse, groups = np.moveaxis(moments, -1, 0)
    count = np.maximum(count, 1)
    spread = squares - total**2 / count
    unexplained = np.divide(squared, spread, out=np.ones_like(squared), where=spread > 0)
    return {
        "r2": 1 - unexplained,
        "global_rmse": np.sqrt(squared / count),
        "per_chip_rmse": rmse / np.maximum(groups, 1),
        "mae": absolute / count,
        "bias": error / count,
    }
