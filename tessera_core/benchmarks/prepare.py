"""Before a task is scored: classes with too few groups are left out, the others are numbered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import EvaluateConfig
from tessera_core.benchmarks.examples import Examples
from tessera_core.benchmarks.splits import linked
from tessera_core.domain.scores import Kind
from tessera_core.pretrain.probe import MIN_CLASSES, fields_per_class
from tessera_core.records.benchmarks import Benchmark, SplitRule
from tessera_core.records.labels import class_names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HAS_CLASSES: Final = (Kind.CLASSIFICATION, Kind.CHANGE, Kind.SEGMENTATION)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ready:
    """A task that can be scored."""

    benchmark: Benchmark
    """The task."""

    examples: Examples
    """Units of the classes that remain; all units where they are in chips."""

    truth: Floats
    """(U,) class numbers 0..K-1 or values, NaN = not labelled; (U, L) of 0 and 1."""

    codes: tuple[int, ...]
    """Code of each class number or label; empty for values."""

    names: tuple[str, ...]
    """Name of each class number or label."""

    group: Ints
    """(U,), linked by field and place."""

    left_out: Mapping[str, Any]
    """Name -> what was left out, and why."""

    @property
    def num_classes(self) -> int:
        """Return K or L; 0 for values."""
        return len(self.codes)

    def as_codes(self, numbers: Floats) -> Floats:
        """Return class numbers as the codes of the labels; everything else as it is."""
        if self.benchmark.kind not in HAS_CLASSES:
            return numbers
        codes = np.array(self.codes, np.float64)
        known = np.isfinite(numbers)
        return np.where(known, codes[np.where(known, numbers, 0).astype(np.int64)], np.nan)

    def describe_classes(self) -> dict[str, Any]:
        """Return name -> code and counts, for classes and labels."""
        described = {}
        for number, (code, name) in enumerate(zip(self.codes, self.names, strict=True)):
            is_in = self.truth[:, number] > 0 if self.truth.ndim > 1 else self.truth == number
            described[name] = {
                "code": code,
                "num_groups": len(np.unique(self.group[is_in])),
                "num_pixels": int(is_in.sum()),
            }
        return described


def prepare(
    benchmark: Benchmark,
    examples: Examples | None,
    legend: Mapping[int, str],
    settings: EvaluateConfig,
    absent: str | None,
) -> Ready | str:
    """Return what can be scored, or why nothing can.

    Args:
        benchmark: The task.
        examples: What it has; None where nothing is labelled.
        legend: Names by code; a code without a name is called by its number.
        settings: How many folds.
        absent: Why there is no data, where there is none.
    """
    if absent is not None:
        return absent
    what = benchmark.truth.raster or benchmark.truth.column
    if examples is None or not len(examples):
        return f"no d-pixel has a label: there is no {what}, or it lies elsewhere"
    if benchmark.kind == Kind.REGRESSION:
        return _prepare_values(benchmark, examples, settings)
    if benchmark.kind == Kind.MULTILABEL:
        return _prepare_labels(benchmark, examples, legend, settings)
    return _prepare_classes(benchmark, examples, legend, settings)


def _prepare_values(
    benchmark: Benchmark, examples: Examples, settings: EvaluateConfig
) -> Ready | str:
    group = linked(examples.group, examples.position)
    num_groups = len(np.unique(group))
    if benchmark.split.rule == SplitRule.FOLDS and num_groups < settings.num_folds:
        return f"labels lie in {num_groups} groups, fewer than {settings.num_folds} folds"
    if np.ptp(examples.truth) == 0:
        return f"all labels are {examples.truth[0]:g}: there is nothing to explain"
    return Ready(
        benchmark=benchmark, examples=examples, truth=examples.truth, codes=(), names=(),
        group=group, left_out={},
    )  # fmt: skip


def _prepare_labels(
    benchmark: Benchmark, examples: Examples, legend: Mapping[int, str], settings: EvaluateConfig
) -> Ready | str:
    group = linked(examples.group, examples.position)
    num_groups = len(np.unique(group))
    if num_groups < settings.num_folds:
        return f"patches lie in {num_groups} groups, fewer than {settings.num_folds} folds"
    names = class_names(examples.label_codes, legend)
    present = np.array([len(np.unique(group[column > 0])) for column in examples.truth.T])
    kept = np.flatnonzero(present >= settings.num_folds)
    if not len(kept):
        return f"no label is present in {settings.num_folds} groups or more, one per fold"
    codes = tuple(examples.label_codes[place] for place in kept)
    left_out = {
        names[code]: {"code": code, "num_groups": int(count),
                      "reason": _too_few(int(count), settings.num_folds)}
        for code, count in zip(examples.label_codes, present, strict=True)
        if code not in codes
    }  # fmt: skip
    return Ready(
        benchmark=benchmark, examples=examples, truth=examples.truth[:, kept], codes=codes,
        names=tuple(names[code] for code in codes), group=group, left_out=left_out,
    )  # fmt: skip


def _prepare_classes(
    benchmark: Benchmark, examples: Examples, legend: Mapping[int, str], settings: EvaluateConfig
) -> Ready | str:
    """Leave out classes that cannot be on both sides, and number the others."""
    group = linked(examples.group, examples.position)
    known = np.isfinite(examples.truth)
    codes = examples.truth[known].astype(np.int64)
    needed = settings.num_folds if benchmark.split.rule == SplitRule.FOLDS else MIN_CLASSES
    is_whole = examples.chip is not None
    counts = (
        _groups_with(codes, group[known]) if is_whole else fields_per_class(codes, group[known])
    )
    names = class_names(list(counts), legend)
    kept = [code for code, count in counts.items() if count >= needed]
    left_out = {
        names[code]: {
            "code": code,
            "num_groups": count,
            "num_pixels": int((codes == code).sum()),
            "reason": _too_few(count, needed),
        }
        for code, count in counts.items()
        if code not in kept
    }
    if len(kept) < MIN_CLASSES:
        return (
            f"{len(kept)} of {len(counts)} labelled classes have {needed} groups or more; "
            f"{MIN_CLASSES} such classes are needed"
        )
    is_kept = np.isin(examples.truth, kept)
    if not is_whole and not is_kept.all():
        examples = examples.take(np.flatnonzero(is_kept))
        group = linked(examples.group, examples.position)
    place = np.searchsorted(kept, np.nan_to_num(examples.truth)).astype(np.float64)
    truth = place if not is_whole else np.where(is_kept, place, np.nan)
    return Ready(
        benchmark=benchmark, examples=examples, truth=truth, codes=tuple(kept),
        names=tuple(names[code] for code in kept), group=group, left_out=left_out,
    )  # fmt: skip


def _groups_with(codes: Ints, group: Ints) -> dict[int, int]:
    """Return class -> number of groups that hold any of it."""
    pairs = np.unique(np.stack([codes, group]), axis=1)
    found, counts = np.unique(pairs[0], return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _too_few(count: int, needed: int) -> str:
    return f"{count} group{'s' * (count != 1)}, fewer than the {needed} that a split needs"
