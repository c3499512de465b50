"""What a linear head makes of embeddings at labelled points, on folds that cut no group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.api.sample import PointSample
from tessera_core.benchmarks.units import BLOCK_SIZE_M
from tessera_core.domain.bootstrap import Estimate, count_blocks, interval, resampled_scores
from tessera_core.domain.grid import block_ids
from tessera_core.domain.scores import Kind, scores, tally
from tessera_core.errors import InputError
from tessera_core.pretrain.probe import (
    MIN_CLASSES,
    grouped_folds,
    predict_out_of_fold,
    thin_classes,
)

NUM_RESAMPLES: Final = 1000
LEFT_OUT: Final = ("outside", "without_data", "without_label", "without_group", "thin_class")
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeScores:
    """How well labels are told from embeddings, by groups that the head never saw."""

    embeddings: Mapping[str, Estimate]
    """Metric -> score with its 95 % interval, 0..1: accuracy, balanced_accuracy, macro_f1 ..."""

    majority: Mapping[str, Estimate]
    """The same of answering the most frequent class of the other folds."""

    lead: Mapping[str, Estimate]
    """The difference, paired by resample: an interval above 0 says that embeddings help."""

    classes: tuple[str, ...]
    """Labels that were scored."""

    left_out: Mapping[str, int]
    """Reason -> points: outside, without_data, without_label, without_group, thin_class."""

    num_used: int
    """Points scored; with those left out, all that were offered."""

    num_groups: int
    """Fields or blocks that they come from."""

    group: str
    """What a group is: a column's name, or the block."""

    def __str__(self) -> str:
        """Return a sentence."""
        own, base = self.embeddings["accuracy"], self.majority["accuracy"]
        left = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items() if count)
        return (
            f"accuracy {own.mean:.2f} ({own.low:.2f} to {own.high:.2f}), most frequent class "
            f"{base.mean:.2f}; {self.num_used} points, {len(self.classes)} classes, "
            f"{self.num_groups} groups by {self.group}; left out: {left or 'none'}"
        )


def probe(
    sample: PointSample, label: str, *, group: str | None = None, num_folds: int = 5, seed: int = 17
) -> ProbeScores:
    """Fit a linear head on sampled embeddings and score it out of fold.

    Args:
        sample: From ``sample_points``.
        label: Column with the class of each point; points without one are left out.
        group: Column with the field of each point. Points of one field are near copies, so none is
            ever on both sides. None takes blocks of 160 m.
        num_folds: Folds, 2 or more; a class needs as many groups.
        seed: Deals groups to folds and draws the resamples.

    Raises:
        InputError: There is no such column, or fewer than two classes have enough groups.
    """
    known = sample.points.column(label)
    fields = None if group is None else sample.points.column(group)
    reasons = np.full(len(known), "", "U16")
    for reason, is_so in (
        ("without_group", np.zeros(len(known), np.bool_) if fields is None else _is_empty(fields)),
        ("without_label", _is_empty(known)),
        ("without_data", ~sample.has_embedding),
        ("outside", ~sample.is_inside),
    ):
        reasons[is_so] = reason
    rows = np.flatnonzero(reasons == "")
    names, codes = np.unique(known[rows].astype(str), return_inverse=True)
    groups = (
        block_ids(sample.epsg[rows], sample.x[rows], sample.y[rows], BLOCK_SIZE_M)
        if fields is None
        else np.unique(fields[rows].astype(str), return_inverse=True)[1]
    )
    thin = np.isin(codes, list(thin_classes(codes, groups, num_folds)))
    reasons[rows[thin]] = "thin_class"
    rows, codes, groups = rows[~thin], codes[~thin], groups[~thin]
    kept, codes = np.unique(codes, return_inverse=True)
    what = group or f"blocks of {BLOCK_SIZE_M} m"
    counts = {reason: int((reasons == reason).sum()) for reason in LEFT_OUT}
    if len(kept) < MIN_CLASSES:
        raise InputError(
            f"of {len(names)} classes in column {label}, {len(kept)} have points in {num_folds} or "
            f"more groups ({what}), expected {MIN_CLASSES}; of {len(known)} points left out: "
            f"{counts}. Label more places, or lower num_folds"
        )
    features = sample.embedding.dequantise()[rows]
    fold = grouped_folds(codes, groups, num_folds, seed)
    answers = {
        "embeddings": predict_out_of_fold(features, codes, fold),
        "majority": _most_frequent(codes, fold),
    }
    own, base, lead = _estimates(codes, answers, groups, len(kept), seed)
    return ProbeScores(
        embeddings=own,
        majority=base,
        lead=lead,
        classes=tuple(names[kept].tolist()),
        left_out=counts,
        num_used=len(rows),
        num_groups=len(np.unique(groups)),
        group=what,
    )


def _is_empty(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    # NaN alone differs from itself.
    return np.array([value is None or value != value or value == "" for value in values])


def _most_frequent(codes: Ints, fold: Ints) -> Ints:
    answers = np.empty_like(codes)
    for number in np.unique(fold):
        answers[fold == number] = np.bincount(codes[fold != number]).argmax()
    return answers


def _estimates(
    codes: Ints, answers: Mapping[str, Ints], groups: Ints, num_classes: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, Estimate], dict[str, Estimate]]:
    """Return metric -> estimate of both answers and of their difference, on the same resamples."""
    ids, number = np.unique(groups, return_inverse=True)
    kind, num = Kind.CLASSIFICATION, len(ids)
    sums = {name: tally(kind, codes, each, number, num, num_classes)
            for name, each in answers.items()}  # fmt: skip
    blocks = count_blocks(num, NUM_RESAMPLES, np.random.default_rng(seed))
    drawn = resampled_scores(kind, sums, blocks)
    point = {name: scores(kind, each.sum(axis=0)) for name, each in sums.items()}
    first, second = answers
    own, base = (
        {metric: interval(float(point[name][metric]), drawn[name][metric], num_groups=num)
         for metric in point[name]}
        for name in answers
    )  # fmt: skip
    lead = {
        metric: interval(
            float(point[first][metric] - point[second][metric]),
            drawn[first][metric] - drawn[second][metric],
            num_groups=num,
        )
        for metric in own
    }
    return own, base, lead
