"""Segmentation: models that see whole chips, and pixel models beside them.

A field that crosses the edge of a chip has labels on both sides of a split. They are taken from
the training side, so that no field is ever learnt from and asked about.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import EvaluateConfig
from tessera_core.benchmarks.examples import NO_PIXEL, Examples
from tessera_core.benchmarks.splits import Fold
from tessera_core.scoring.answers import IN_PLACE, Answering
from tessera_core.scoring.heads.constant import predict_majority
from tessera_core.scoring.heads.context import CONTEXT, predict_context
from tessera_core.scoring.heads.forest import predict_forest
from tessera_core.scoring.heads.linear import predict_standardised_linear
from tessera_core.scoring.heads.unet import predict_unet
from tessera_core.scoring.methods import Features, Head, is_asked

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_TRAIN_PIXELS: Final = 4000
"""Labelled d-pixels that a pixel model learns from; neighbours are near copies."""

UNITS_AT_ONCE: Final = 8192
"""Neighbourhoods in memory at a time: 100 MB of 128 features."""


def without_shared_fields(truth: Floats, field: Ints, fold: Fold) -> Floats:
    """Return truth (U,) in which training units of fields that also test are unlabelled."""
    tested = np.unique(field[fold.test])
    shared = np.isin(field[fold.train], tested[tested >= 0])
    masked = truth.copy()
    masked[fold.train[shared]] = np.nan
    return masked


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedOfChips:
    """One model of chips, to be asked about every fold by what it learnt from the others."""

    model: str
    """Name; ``unet`` sees whole chips, ``context`` neighbourhoods, ``head`` single d-pixels."""

    head: Head | None
    """Of a model that sees single d-pixels."""

    values: npt.NDArray[Any]
    """(U, F), its features."""

    truth: Floats
    """(U,) class numbers, NaN = not labelled."""

    chip: Ints
    """(chip, row, column), the unit of each place."""

    field: Ints
    """(U,), negative = none."""

    folds: tuple[Fold, ...]
    """Whole chips on either side."""

    seed: int
    """Of draws and networks."""

    def answer(self) -> Floats:
        """Return out-of-fold class numbers, (U,), NaN where a unit was not tested."""
        predicted = np.full(len(self.truth), np.nan)
        for fold in self.folds:
            masked = without_shared_fields(self.truth, self.field, fold)
            if self.head is not None:
                found = _predict_pixels(self.head, self.values, masked, fold, self.seed)
            elif self.model.endswith("/unet"):
                found = _predict_whole(self.chip, self.values, masked, fold, self.seed)
            else:
                found = _predict_context(self.chip, self.values, masked, fold, self.seed)
            predicted[fold.test] = found
        return predicted


def predict_chips(
    examples: Examples,
    truth: Floats,
    features: Features,
    folds: Sequence[Fold],
    settings: EvaluateConfig,
    answering: Answering = IN_PLACE,
) -> dict[str, Floats]:
    """Return model -> out-of-fold class numbers, (U,), NaN where a unit was not tested.

    Args:
        examples: In chips.
        truth: (U,) class numbers, NaN = not labelled.
        features: Name -> (U, F).
        folds: Whole chips on either side.
        settings: Set of methods, trees and seed.
        answering: Who fits the models.
    """
    assert examples.chip is not None  # noqa: S101 - the caller has chips
    seed = settings.seed
    forest: Head = partial(predict_forest, num_trees=settings.num_trees, seed=seed)
    models: dict[str, tuple[Head | None, str]] = {
        "encoder/linear": (predict_standardised_linear, "encoder"),
        "encoder_int8/linear": (predict_standardised_linear, "encoder_int8"),
        "random_encoder/linear": (predict_standardised_linear, "random_encoder"),
        "raw/linear": (predict_standardised_linear, "raw"),
        "raw/forest": (forest, "raw"),
        "majority": (predict_majority, "encoder"),
    }
    for name in ("encoder", "random_encoder", *_released(features)):
        models[f"{name}/unet"] = (None, name)
    models["encoder/context"] = (None, "encoder")
    asked = [
        AskedOfChips(
            model=name, head=head, values=features[source], truth=truth, chip=examples.chip,
            field=examples.field, folds=tuple(folds), seed=seed,
        )
        for name, (head, source) in models.items()
        if source in features and is_asked(name, settings)
    ]  # fmt: skip
    answers = answering.ask("chips", asked)
    return {each.model: answer for each, answer in zip(asked, answers, strict=True)}


def _released(features: Features) -> list[str]:
    return [name for name in features if name.startswith("released")]


def _labelled_train(truth: Floats, fold: Fold, seed: int) -> Ints:
    """Return a seeded draw of the training units that have a label, ascending."""
    rows = fold.train[np.isfinite(truth[fold.train])]
    drawn = np.random.default_rng([seed, len(rows)]).permutation(rows)[:MAX_TRAIN_PIXELS]
    return np.sort(drawn)


def _predict_pixels(
    head: Head, values: npt.NDArray[Any], truth: Floats, fold: Fold, seed: int
) -> Ints:
    rows = _labelled_train(truth, fold, seed)
    predicted: Ints = head(values[rows], truth[rows].astype(np.int64), values[fold.test])
    return predicted


def _predict_whole(
    chip: Ints, values: npt.NDArray[Any], truth: Floats, fold: Fold, seed: int
) -> Ints:
    """Return class numbers of the test units, from a U-Net over chips."""
    side = np.zeros(len(truth), bool)
    side[fold.train] = True
    first = chip.reshape(len(chip), -1).max(axis=1)
    is_train = side[first]
    train, test = chip[is_train], chip[~is_train]
    num_classes = int(np.nanmax(truth)) + 1
    labels = predict_unet(
        _laid_out(values, train), _laid_out(truth[:, None], train)[..., 0], _laid_out(values, test),
        num_classes=num_classes, seed=seed,
    )  # fmt: skip
    everywhere = np.zeros(len(truth), np.int64)
    everywhere[test[test != NO_PIXEL]] = labels[test != NO_PIXEL]
    return everywhere[fold.test]


def _predict_context(
    chip: Ints, values: npt.NDArray[Any], truth: Floats, fold: Fold, seed: int
) -> Ints:
    """Return class numbers of the test units, each from its neighbourhood in the chip."""
    rows = _labelled_train(truth, fold, seed)
    around = neighbourhoods(chip, values)
    blocks = np.split(fold.test, range(UNITS_AT_ONCE, len(fold.test), UNITS_AT_ONCE))
    return predict_context(
        around(rows), truth[rows].astype(np.int64), map(around, blocks), seed=seed
    )


def neighbourhoods(
    chip: Ints, values: npt.NDArray[Any]
) -> Callable[[Ints], npt.NDArray[np.float32]]:
    """Return a function of units: what lies around them, (M, 5, 5, F); zero beyond the edge."""
    margin = CONTEXT // 2
    padded = np.pad(chip, ((0, 0), (margin, margin), (margin, margin)), constant_values=NO_PIXEL)
    place = np.argwhere(chip != NO_PIXEL)
    where = np.empty((len(values), 3), np.int64)
    where[chip[tuple(place.T)]] = place
    step = np.arange(CONTEXT)

    def around(rows: Ints) -> npt.NDArray[np.float32]:
        number, row, column = where[rows].T
        units = padded[
            number[:, None, None], row[:, None, None] + step[:, None], column[:, None, None] + step
        ]
        return _laid_out(values, units)

    return around


def _laid_out(values: npt.NDArray[Any], units: Ints) -> npt.NDArray[np.float32]:
    """Return features at units of any shape (..., F); zero, for truth NaN, where there is none."""
    empty = np.nan if values.dtype == np.float64 else 0.0
    found = values[np.maximum(units, 0)].astype(np.float32)
    found[units == NO_PIXEL] = empty
    return found
