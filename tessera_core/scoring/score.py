"""One task from examples to scores: splits, models, intervals, curves, transfer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import FULL, EvaluateConfig
from tessera_core.benchmarks.examples import Examples
from tessera_core.benchmarks.prepare import HAS_CLASSES, Ready, prepare
from tessera_core.benchmarks.splits import (
    Fold,
    require_disjoint,
    split_units,
    transfer_folds,
    year_folds,
)
from tessera_core.domain.geometry import draw_rows
from tessera_core.domain.scores import Kind
from tessera_core.pretrain.probe import MIN_CLASSES
from tessera_core.records.benchmarks import Benchmark
from tessera_core.records.evaluation import SCORED, SKIPPED
from tessera_core.scoring.answers import IN_PLACE, Answering
from tessera_core.scoring.chips import predict_chips, without_shared_fields
from tessera_core.scoring.curve import METRIC, count_curve, share_curve
from tessera_core.scoring.estimates import by_region, compare, is_tested, tallies
from tessera_core.scoring.methods import (
    COMPARED,
    MAX_LEARNT,
    Features,
    Head,
    Model,
    models_of,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Featurise = Callable[[Examples], Features]


TRANSFER_MODELS: Final = (
    "encoder/linear", "encoder/ridge", "random_encoder/linear", "random_encoder/ridge",
    "raw/forest", "raw/linear", "raw/ridge",
)  # fmt: skip
"""What is asked how far it carries."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskResult:
    """One task of one evaluation."""

    report: Mapping[str, Any]
    """The task's part of evaluation.json; plain JSON values."""

    scored: Examples | None = None
    """The U units that were scored."""

    group: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """(U,), linked: what was resampled."""

    fold: Ints | None = None
    """(U,), the fold in which each was tested, -1 = never."""

    truth: Floats | None = None
    """(U,) or (U, L), as the predictions are."""

    predictions: Mapping[str, Floats] = field(default_factory=dict)
    """Model -> (U,) or (U, L), class codes or values, NaN where it was not tested."""

    @property
    def is_scored(self) -> bool:
        """Whether there are scores."""
        return bool(self.report["status"] == SCORED)


def score_task(
    benchmark: Benchmark,
    examples: Examples | None,
    featurise: Featurise,
    legend: Mapping[int, str],
    settings: EvaluateConfig,
    *,
    absent: str | None = None,
    with_baselines: bool = True,
    answering: Answering = IN_PLACE,
) -> TaskResult:
    """Score all models of a task, or say why that cannot be done.

    Args:
        benchmark: The task.
        examples: What it has; None where nothing is labelled.
        featurise: Computes the features of the units that remain.
        legend: Names by code; a code without a name is called by its number.
        settings: Folds, draws, seeds.
        absent: Why there is no data, where there is none.
        with_baselines: False scores the encoder alone, without shares and transfer.
        answering: Who fits the models.
    """
    ready = prepare(benchmark, examples, legend, settings, absent)
    if isinstance(ready, str):
        return _skipped(benchmark, ready)
    folds = _split(ready, settings)
    features = featurise(ready.examples)
    predictions = _predict(ready, features, folds, settings, answering)
    sums = tallies(benchmark.kind, ready.truth, predictions, ready.group, ready.num_classes)
    compared = COMPARED[benchmark.kind]
    regions = by_region(
        benchmark.kind, ready.truth, predictions, ready.group, ready.examples.region,
        ready.num_classes, benchmark.metrics[0],
    )  # fmt: skip
    report = {
        **_heading(benchmark),
        "status": SCORED,
        "reason": None,
        "num_pixels": len(ready.examples.pixels),
        "num_units": len(ready.examples),
        "num_groups": len(np.unique(ready.group)),
        "classes": ready.describe_classes(),
        "left_out": dict(ready.left_out),
        **compare(benchmark.kind, sums, benchmark.metrics, compared, settings),
        "regions": regions,
        "confusion": _confusion(benchmark.kind, sums[compared]),
        **_learning(ready, features, folds, settings, answering, with_baselines=with_baselines),
    }
    fold = np.full(len(ready.examples), -1, np.int64)
    for number, one in enumerate(folds):
        fold[one.test] = number
    return TaskResult(
        report=report,
        scored=ready.examples,
        group=ready.group,
        fold=fold,
        truth=ready.as_codes(ready.truth),
        predictions={name: ready.as_codes(each) for name, each in predictions.items()},
    )


def ask_baselines(
    benchmark: Benchmark,
    examples: Examples | None,
    featurise: Featurise,
    legend: Mapping[int, str],
    settings: EvaluateConfig,
    answering: Answering,
) -> None:
    """Ask the baselines of a task all that ``score_task`` will, so that their answers are kept.

    Args:
        benchmark: The task.
        examples: What it has; None where nothing is labelled.
        featurise: Computes features that do not depend on the model that is to be scored.
        legend: As for ``score_task``.
        settings: Likewise.
        answering: Fits the models and keeps what they say.
    """
    ready = prepare(benchmark, examples, legend, settings, None)
    if isinstance(ready, str):
        return
    folds, features = _split(ready, settings), featurise(ready.examples)
    _predict(ready, features, folds, settings, answering)
    _learning(ready, features, folds, settings, answering, with_baselines=True)


def _split(ready: Ready, settings: EvaluateConfig) -> list[Fold]:
    """Return the folds, after making sure that nothing is on both sides."""
    examples, kind = ready.examples, ready.benchmark.kind
    has_strata = kind in (Kind.CLASSIFICATION, Kind.CHANGE)
    strata = ready.truth.astype(np.int64) if has_strata else np.zeros(len(examples), np.int64)
    folds = split_units(
        ready.benchmark.split, strata, ready.group, examples.position, examples.region,
        examples.given, num_folds=settings.num_folds, seed=settings.seed,
    )  # fmt: skip
    require_disjoint(folds, ready.group, examples.position)
    if examples.chip is not None:
        for fold in folds:
            masked = without_shared_fields(ready.truth, examples.field, fold)
            learnt = fold.train[np.isfinite(masked[fold.train])]
            # Where there is no field, the unit's own number is one.
            field = np.where(examples.field >= 0, examples.field, -1 - np.arange(len(examples)))
            require_disjoint([Fold(train=learnt, test=fold.test)], field, examples.position)
    return folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """One model, to be asked about every fold by what it learnt from the others."""

    model: str
    """Name, features first."""

    head: Head
    """Fits and predicts."""

    values: npt.NDArray[Any]
    """(U, F) or (U, T, C), its features."""

    truth: Floats
    """(U,) or (U, L)."""

    kind: Kind
    """Not segmentation."""

    folds: tuple[Fold, ...]
    """Who learns and who is asked."""

    def answer(self) -> Floats:
        """Return out-of-fold predictions, NaN where a unit was not tested."""
        model = (self.head, self.model)
        return predict_folds(model, {self.model: self.values}, self.truth, self.kind, self.folds)


def _predict(
    ready: Ready,
    features: Features,
    folds: Sequence[Fold],
    settings: EvaluateConfig,
    answering: Answering,
) -> dict[str, Floats]:
    """Return model -> out-of-fold class numbers or values, NaN where a unit was not tested."""
    if ready.examples.chip is not None:
        return predict_chips(ready.examples, ready.truth, features, folds, settings, answering)
    models = models_of(ready.benchmark.kind, features, settings)
    return _ask_folds(ready, models, features, folds, answering)


def _ask_folds(
    ready: Ready,
    models: Mapping[str, Model],
    features: Features,
    folds: Sequence[Fold],
    answering: Answering,
) -> dict[str, Floats]:
    """Return model -> out-of-fold predictions."""
    asked = [
        Asked(
            model=name, head=head, values=features[source], truth=ready.truth,
            kind=ready.benchmark.kind, folds=tuple(folds),
        )
        for name, (head, source) in models.items()
    ]  # fmt: skip
    return dict(zip(models, answering.ask(ready.benchmark.name, asked), strict=True))


def predict_folds(
    model: Model, features: Features, truth: Floats, kind: Kind, folds: Sequence[Fold]
) -> Floats:
    """Return out-of-fold predictions of one model, NaN where a unit was not tested."""
    head, name = model
    values = features[name]
    target: npt.NDArray[Any] = truth if kind == Kind.REGRESSION else truth.astype(np.int64)
    predicted = np.full(truth.shape, np.nan)
    for number, fold in enumerate(folds):
        known = fold.train[draw_rows(len(fold.train), MAX_LEARNT, seed=number)]
        predicted[fold.test] = head(values[known], target[known], values[fold.test])
    return predicted


def _learning(
    ready: Ready,
    features: Features,
    folds: Sequence[Fold],
    settings: EvaluateConfig,
    answering: Answering,
    *,
    with_baselines: bool,
) -> dict[str, Any]:
    """Return curves over labels and transfer over regions and years, where they can be had.

    Classes always get their curve: versions are compared by it.
    """
    kind, metric = ready.benchmark.kind, ready.benchmark.metrics[0]
    found: dict[str, Any] = {"curve": None, "shares": None, "transfer": {}}
    if kind == Kind.SEGMENTATION:
        return found
    target = ready.truth if kind == Kind.REGRESSION else ready.truth.astype(np.int64)
    if kind in (Kind.CLASSIFICATION, Kind.CHANGE):
        found["curve"] = count_curve(
            kind, features, ready.truth.astype(np.int64), ready.group, folds, ready.names,
            settings, answering,
        )  # fmt: skip
        metric = METRIC
    if not with_baselines or settings.methods != FULL:
        return found
    found["shares"] = share_curve(
        kind, features, target, ready.group, folds, ready.num_classes, metric, settings, answering
    )
    found["transfer"] = _transfer(ready, features, settings, answering)
    return found


def _transfer(
    ready: Ready, features: Features, settings: EvaluateConfig, answering: Answering
) -> dict[str, Any]:
    """Return how well what was learnt in some regions or years holds in others."""
    examples, kind = ready.examples, ready.benchmark.kind
    metric = ready.benchmark.metrics[0]
    found: dict[str, Any] = {}
    for what, names, folds in (
        ("region", examples.region, transfer_folds(examples.region, ready.group)),
        ("year", examples.year.astype(str), year_folds(examples.year, ready.group)),
    ):
        usable = [fold for fold in folds if _has_all(ready, fold)]
        if not usable:
            found[what] = {"status": SKIPPED, "reason": f"there are no two {what}s to carry over"}
            continue
        models = models_of(kind, features, settings)
        chosen = {name: model for name, model in models.items() if name in TRANSFER_MODELS}
        predictions = _ask_folds(ready, chosen, features, usable, answering)
        rows = is_tested(next(iter(predictions.values())))
        found[what] = {
            "status": SCORED,
            "metric": metric,
            "scores": by_region(
                kind, ready.truth[rows], {k: v[rows] for k, v in predictions.items()},
                ready.group[rows], names[rows], ready.num_classes, metric,
            ),
        }  # fmt: skip
    return found


def _has_all(ready: Ready, fold: Fold) -> bool:
    """Return whether both sides of a fold can be used: classes to learn, something to ask."""
    if not len(fold.train) or not len(fold.test):
        return False
    if ready.benchmark.kind not in HAS_CLASSES:
        return True
    return len(np.unique(ready.truth[fold.train])) >= MIN_CLASSES


def _heading(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "title": benchmark.title,
        "kind": str(benchmark.kind),
        "role": str(benchmark.role),
        "metric": benchmark.metrics[0],
        "metrics": list(benchmark.metrics),
        "margin": benchmark.margin,
        "compared": COMPARED[benchmark.kind],
        "protocol": benchmark.protocol,
    }


def _confusion(kind: Kind, sums: npt.NDArray[np.float64]) -> dict[str, Any] | None:
    if kind not in HAS_CLASSES:
        return None
    return {"model": COMPARED[kind], "counts": sums.sum(axis=0).astype(int).tolist()}


def _skipped(benchmark: Benchmark, reason: str) -> TaskResult:
    report = {
        **_heading(benchmark),
        "status": SKIPPED,
        "reason": reason,
        "num_pixels": 0,
        "num_units": 0,
        "num_groups": 0,
        "classes": {},
        "left_out": {},
        "scores": {},
        "differences": {},
        "regions": {},
        "confusion": None,
        "curve": None,
        "shares": None,
        "transfer": {},
    }
    return TaskResult(report=report)
