"""Label efficiency: how few labels are enough?

Each draw holds out one fold of groups, puts the labelled units of the others in random order and
takes the first 1, 5, 10 ... of each class, or 1, 10, 30 ... per cent of all. Larger sets contain
the smaller ones and all models see the same labels, so that curves differ by models alone.
"""

from collections.abc import Callable, Iterable, Sequence
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
from tessera_core.scoring.heads.few_shot import predict_few_shot
from tessera_core.scoring.heads.forest import predict_forest, predict_forest_value
from tessera_core.scoring.heads.linear import predict_ridge
from tessera_core.scoring.heads.multilabel import predict_multilabel
from tessera_core.scoring.methods import MAX_LEARNT, Features, Head

Ints = npt.NDArray[np.int64]

METRIC: Final = "balanced_accuracy"
"""Labels are drawn evenly over classes, so the score is even over classes too."""

CURVE_TREES: Final = 25
"""Trees of the forest here; hundreds of forests are fitted."""

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


def count_curve(
    kind: Kind,
    features: Features,
    truth: Ints,
    group: Ints,
    folds: Sequence[Fold],
    names: Sequence[str],
    settings: EvaluateConfig,
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
    """
    counts = settings.labels_per_class
    found: dict[str, list[list[float]]] = {}
    least = np.full(len(names), np.iinfo(np.int64).max)
    for draw in _draws(folds, settings, "label curve"):
        of_pool = truth[draw.pool]
        least = np.minimum(least, np.bincount(of_pool, minlength=len(names)))
        rank = rank_within(of_pool)
        for name, predict in _models(kind, features, truth, group, draw, settings).items():
            chosen = [np.flatnonzero(rank < count) for count in counts]
            found.setdefault(name, []).append(
                [_score(kind, METRIC, truth, predict(rows), draw, len(names)) for rows in chosen]
            )
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
    """
    shares = settings.label_shares
    found: dict[str, list[list[float]]] = {}
    for draw in _draws(folds, settings, "label shares"):
        sizes = [max(1, round(share * len(draw.pool))) for share in shares]
        for name, predict in _models(kind, features, truth, group, draw, settings).items():
            found.setdefault(name, []).append(
                [
                    _score(kind, metric, truth, predict(np.arange(size)), draw, num_classes)
                    for size in sizes
                ]
            )
    return {
        "metric": metric,
        "num_draws": settings.num_draws,
        "shares": list(shares),
        "series": {name: _summarise(values) for name, values in found.items()},
        "area": {name: _area(shares, values) for name, values in found.items()},
    }


def rank_within(classes: Ints) -> Ints:
    """Return how many earlier rows have the same class, (N,)."""
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(len(classes), np.int64)
    rank[order] = np.arange(len(classes)) - first
    return rank


def _draws(folds: Sequence[Fold], settings: EvaluateConfig, label: str) -> Iterable[Draw]:
    """Return the draws; a fold is held out in turn."""
    from tqdm import tqdm

    draws = []
    for number in range(settings.num_draws):
        rng = np.random.default_rng([settings.seed, STREAM, number])
        fold = folds[number % len(folds)]
        test = np.sort(rng.permutation(fold.test)[:MAX_TEST_UNITS])
        draws.append(Draw(pool=rng.permutation(fold.train)[:MAX_LEARNT], test=test, seed=number))
    return tqdm(draws, desc=label, leave=False, disable=None)


def _models(
    kind: Kind,
    features: Features,
    truth: npt.NDArray[Any],
    group: Ints,
    draw: Draw,
    settings: EvaluateConfig,
) -> dict[str, Predict]:
    """Return the models of one draw by name."""
    num_trees = min(settings.num_trees, CURVE_TREES)
    encoders = [name for name in ("encoder", "random_encoder") if name in features]
    models: dict[str, Predict] = {}
    heads: dict[str, tuple[Head, str]]
    forest: Head | None
    if kind == Kind.REGRESSION:
        heads = {f"{name}/ridge": (predict_ridge, name) for name in encoders}
        forest = partial(predict_forest_value, num_trees=num_trees, seed=draw.seed)
    elif kind == Kind.MULTILABEL:
        heads = {f"{name}/linear": (predict_multilabel, name) for name in encoders}
        forest = None
    else:
        heads = {}
        forest = partial(predict_forest, num_trees=num_trees, seed=draw.seed)
        for name in encoders:
            models[f"{name}/linear"] = _linear(features[name], truth, draw)
        models["encoder/few_shot"] = _few_shot(features["encoder"], truth, group, draw)
    for model, (head, name) in heads.items():
        models[model] = _plain(head, features[name], truth, draw)
    if forest is not None and "raw" in features:
        models["raw/forest"] = _plain(forest, features["raw"], truth, draw)
    return models


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


def _score(
    kind: Kind,
    metric: str,
    truth: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    draw: Draw,
    num_classes: int,
) -> float:
    whole = np.zeros(len(draw.test), np.int64)
    sums = tally(kind, truth[draw.test], predicted, whole, 1, num_classes)
    return float(scores(kind, sums[0])[metric])


def _summarise(values: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Return mean and 95 % range over draws, point by point, of scores (draw, point)."""
    points = [_range(column) for column in np.array(values).T]
    return {part: [point[part] for point in points] for part in ("mean", "low", "high")}


def _area(labels: Sequence[float], values: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the mean height of the curve over the logarithm of the labels, with its range."""
    drawn = np.array(values)
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
