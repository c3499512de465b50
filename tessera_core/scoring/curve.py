"""Label efficiency: how few labels are enough?

Each draw holds out one fold of groups, puts the labelled units of the others in random order and
takes the first 1, 5, 10 ... of each class, or 1, 10, 30 ... per cent of all. Larger sets contain
the smaller ones and all models see the same labels, so that curves differ by models alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import EvaluateConfig
from tessera_core.benchmarks.splits import Fold
from tessera_core.domain.bootstrap import DIGITS
from tessera_core.domain.scores import Kind, scores, tally
from tessera_core.pretrain.probe import predict_linear, standardise
from tessera_core.scoring.answers import IN_PLACE, Answering
from tessera_core.scoring.heads.few_shot import predict_few_shot
from tessera_core.scoring.heads.forest import predict_forest, predict_forest_value
from tessera_core.scoring.heads.linear import predict_ridge
from tessera_core.scoring.heads.multilabel import predict_multilabel
from tessera_core.scoring.methods import MAX_LEARNT, Features, is_asked

Ints = npt.NDArray[np.int64]

METRIC: Final = "balanced_accuracy"
"""Labels are drawn evenly over classes, so the score is even over classes too."""

CURVE_TREES: Final = 25
"""Trees of the forest here; hundreds of forests are fitted."""

IS_CLASS: Final = (Kind.CLASSIFICATION, Kind.CHANGE)

MAX_TEST_UNITS: Final = 1000
"""Units of the held-out groups that a draw is tested on."""

STREAM: Final = 1
"""Keeps the draws apart from other uses of the seed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """One order of labels, and what they are tested on."""

    pool: Ints
    """Units that may be labelled, in random order, ``MAX_LEARNT`` at most."""

    test: Ints
    """Held-out units, ascending."""

    seed: int
    """For models with chance."""


Predict = Callable[[Ints], npt.NDArray[Any]]
"""Places in the pool that are labelled -> predictions for the test units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learning:
    """One model, to be asked after every draw of labels."""

    model: str
    """Name, features first."""

    kind: Kind
    """Any but segmentation."""

    metric: str
    """What is scored."""

    num_classes: int
    """K or L; unused for values."""

    num_trees: int
    """Of a forest."""

    values: npt.NDArray[Any]
    """(U, F), the model's features."""

    truth: npt.NDArray[Any]
    """(U,) class numbers or values, (U, L) of 0 and 1."""

    group: Ints
    """(U,)."""

    draws: tuple[Draw, ...]
    """Orders of labels."""

    labelled: tuple[tuple[Ints, ...], ...]
    """For each draw and point of the curve: places in the pool that are labelled."""

    def answer(self) -> npt.NDArray[np.float64]:
        """Return the scores, (draw, point)."""
        return np.array(
            [
                [_score(self, predict(rows), draw) for rows in points]
                for draw, points in zip(self.draws, self.labelled, strict=True)
                for predict in [_predictor(self, draw)]
            ]
        )


def count_curve(
    kind: Kind,
    features: Features,
    truth: Ints,
    group: Ints,
    folds: Sequence[Fold],
    names: Sequence[str],
    settings: EvaluateConfig,
    answering: Answering = IN_PLACE,
) -> dict[str, Any]:
    """Return the curve over labels per class: mean, 95 % range over draws, area.

    Args:
        kind: Classification or change.
        features: Of U units.
        truth: (U,) class numbers.
        group: (U,).
        folds: Groups are whole.
        names: Of the classes.
        settings: Label counts, draws, seed.
        answering: Who fits the models.
    """
    counts, draws = settings.labels_per_class, _draws(folds, settings)
    of_pool = [truth[draw.pool] for draw in draws]
    least = np.min([np.bincount(each, minlength=len(names)) for each in of_pool], axis=0)
    ranks = [rank_within(each) for each in of_pool]
    labelled = tuple(tuple(np.flatnonzero(rank < count) for count in counts) for rank in ranks)
    asked = [
        Learning(
            model=model, kind=kind, metric=METRIC, num_classes=len(names),
            num_trees=min(settings.num_trees, CURVE_TREES), values=features[source], truth=truth,
            group=group, draws=draws, labelled=labelled,
        )
        for model, source in _models(kind, features, settings).items()
    ]  # fmt: skip
    found = _found("label curve", asked, answering)
    return {
        "metric": METRIC,
        "chance": round(1 / len(names), DIGITS),
        "num_draws": settings.num_draws,
        "labels_per_class": list(counts),
        "series": {name: _summarise(values) for name, values in found.items()},
        "area": {name: _area(counts, values) for name, values in found.items()},
        "capped": {
            str(count): {
                name: int(most) for name, most in zip(names, least, strict=True) if most < count
            }
            for count in counts
            if count > least.min()
        },
    }


def share_curve(
    kind: Kind,
    features: Features,
    truth: npt.NDArray[Any],
    group: Ints,
    folds: Sequence[Fold],
    num_classes: int,
    metric: str,
    settings: EvaluateConfig,
    answering: Answering = IN_PLACE,
) -> dict[str, Any]:
    """Return the curve over shares of all labels: mean, 95 % range over draws, area.

    Args:
        kind: Any but segmentation.
        features: Of U units.
        truth: (U,) class numbers or values, (U, L) of 0 and 1.
        group: (U,).
        folds: Groups are whole.
        num_classes: K or L; unused for values.
        metric: What is scored.
        settings: Shares, draws, seed.
        answering: Who fits the models.
    """
    shares, draws = settings.label_shares, _draws(folds, settings)
    labelled = tuple(
        tuple(np.arange(max(1, round(share * len(draw.pool)))) for share in shares)
        for draw in draws
    )
    asked = [
        Learning(
            model=model, kind=kind, metric=metric, num_classes=num_classes,
            num_trees=min(settings.num_trees, CURVE_TREES), values=features[source], truth=truth,
            group=group, draws=draws, labelled=labelled,
        )
        for model, source in _models(kind, features, settings).items()
    ]  # fmt: skip
    found = _found("label shares", asked, answering)
    return {
        "metric": metric,
        "num_draws": settings.num_draws,
        "shares": list(shares),
        "series": {name: _summarise(values) for name, values in found.items()},
        "area": {name: _area(shares, values) for name, values in found.items()},
    }


def _found(
    what: str, asked: Sequence[Learning], answering: Answering
) -> dict[str, npt.NDArray[np.float64]]:
    """Return model -> scores, (draw, point)."""
    return {
        one.model: scored for one, scored in zip(asked, answering.ask(what, asked), strict=True)
    }


def rank_within(classes: Ints) -> Ints:
    """Return how many earlier rows have the same class, (N,)."""
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(len(classes), np.int64)
    rank[order] = np.arange(len(classes)) - first
    return rank


def _draws(folds: Sequence[Fold], settings: EvaluateConfig) -> tuple[Draw, ...]:
    """Return the draws; a fold is held out in turn."""
    draws = []
    for number in range(settings.num_draws):
        rng = np.random.default_rng([settings.seed, STREAM, number])
        fold = folds[number % len(folds)]
        test = np.sort(rng.permutation(fold.test)[:MAX_TEST_UNITS])
        draws.append(Draw(pool=rng.permutation(fold.train)[:MAX_LEARNT], test=test, seed=number))
    return tuple(draws)


def _models(kind: Kind, features: Features, settings: EvaluateConfig) -> dict[str, str]:
    """Return the models of a curve, each with the name of its features."""
    head = "ridge" if kind == Kind.REGRESSION else "linear"
    found = {"encoder": [head], "random_encoder": [head], "raw": ["forest"]}
    if kind in IS_CLASS:
        found["encoder"].append("few_shot")
    if kind == Kind.MULTILABEL:
        del found["raw"]
    models = {f"{name}/{each}": name for name, heads in found.items() for each in heads}
    return {
        model: name
        for model, name in models.items()
        if name in features and is_asked(model, settings)
    }


def _predictor(asked: Learning, draw: Draw) -> Predict:
    """Return a model that knows one draw's units, but no label yet."""
    head = asked.model.partition("/")[2]
    values, truth = asked.values, asked.truth
    if head == "few_shot":
        return _few_shot(values, truth, asked.group, draw)
    if head == "forest":
        fit = predict_forest_value if asked.kind == Kind.REGRESSION else predict_forest
        return _plain(partial(fit, num_trees=asked.num_trees, seed=draw.seed), values, truth, draw)
    if asked.kind in IS_CLASS:
        return _linear(values, truth, draw)
    return _plain(
        predict_ridge if asked.kind == Kind.REGRESSION else predict_multilabel, values, truth, draw
    )


def _plain(head: Any, values: npt.NDArray[Any], truth: npt.NDArray[Any], draw: Draw) -> Predict:
    """Return a head that learns from labelled units alone."""

    def predict(rows: Ints) -> npt.NDArray[Any]:
        known = draw.pool[rows]
        predicted: npt.NDArray[Any] = head(values[known], truth[known], values[draw.test])
        return predicted

    return predict


def _linear(values: npt.NDArray[Any], truth: Ints, draw: Draw) -> Predict:
    """Return the linear probe, scaled by the whole pool: embeddings cost no label."""
    pool = values[draw.pool]
    known, asked = standardise(pool, pool, values[draw.test])

    def predict(rows: Ints) -> Ints:
        classes = truth[draw.pool[rows]]
        if (classes == classes[0]).all():
            return np.full(len(asked), classes[0])
        return predict_linear(known[rows], classes, asked)

    return predict


def _few_shot(values: npt.NDArray[Any], truth: Ints, group: Ints, draw: Draw) -> Predict:
    """Return the head that also looks at what is not labelled."""

    def predict(rows: Ints) -> Ints:
        return predict_few_shot(
            values[draw.pool], truth[draw.pool[rows]], rows, values[draw.test],
            pool_groups=group[draw.pool],
        )  # fmt: skip

    return predict


def _score(asked: Learning, predicted: npt.NDArray[Any], draw: Draw) -> float:
    whole = np.zeros(len(draw.test), np.int64)
    sums = tally(asked.kind, asked.truth[draw.test], predicted, whole, 1, asked.num_classes)
    return float(scores(asked.kind, sums[0])[asked.metric])


def _summarise(values: npt.NDArray[np.float64]) -> dict[str, list[float]]:
    """Return mean and 95 % range over draws, point by point, of scores (draw, point)."""
    points = [_range(column) for column in values.T]
    return {part: [point[part] for point in points] for part in ("mean", "low", "high")}


def _area(labels: Sequence[float], drawn: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the mean height of the curve over the logarithm of the labels, with its range."""
    if len(labels) == 1:
        return _range(drawn[:, 0])
    width = np.log(np.array(labels, np.float64))
    return _range(np.trapezoid(drawn, width, axis=1) / (width[-1] - width[0]))


def _range(drawn: npt.NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean = float(drawn.mean())
    return {
        "mean": round(mean, DIGITS),
        "low": round(float(low), DIGITS),
        "high": round(float(high), DIGITS),
    }
