"""Segmentation: models that see whole chips, and pixel models beside them.

A field that crosses the edge of a chip has labels on both sides of a split. They are taken from
the training side, so that no field is ever learnt from and asked about.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import EvaluateConfig
from tessera_core.benchmarks.examples import NO_PIXEL, Examples
from tessera_core.benchmarks.splits import Fold
from tessera_core.scoring.heads.constant import predict_majority
from tessera_core.scoring.heads.context import CONTEXT, predict_context
from tessera_core.scoring.heads.forest import predict_forest
from tessera_core.scoring.heads.linear import predict_standardised_linear
from tessera_core.scoring.heads.unet import predict_unet
from tessera_core.scoring.methods import Features, Head

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


def predict_chips(
    examples: Examples,
    truth: Floats,
    features: Features,
    folds: Sequence[Fold],
    settings: EvaluateConfig,
) -> dict[str, Floats]:
    """Return model -> out-of-fold class numbers, (U,), NaN where a unit was not tested.

    Args:
        examples: In chips.
        truth: (U,) class numbers, NaN = not labelled.
        features: Name -> (U, F).
        folds: Whole chips on either side.
        settings: Trees and seed.
    """
    from tqdm import tqdm

    seed = settings.seed
    forest: Head = partial(predict_forest, num_trees=settings.num_trees, seed=seed)
    pixel_models: Mapping[str, tuple[Head, str]] = {
        "encoder/linear": (predict_standardised_linear, "encoder"),
        "encoder_int8/linear": (predict_standardised_linear, "encoder_int8"),
        "random_encoder/linear": (predict_standardised_linear, "random_encoder"),
        "raw/linear": (predict_standardised_linear, "raw"),
        "raw/forest": (forest, "raw"),
        "majority": (predict_majority, "encoder"),
    }
    chip_models = {
        f"{name}/unet": name for name in ("encoder", "random_encoder", *_released(features))
    }
    predicted: dict[str, Floats] = {}
    for fold in tqdm(folds, desc="chips", leave=False, disable=None):
        masked = without_shared_fields(truth, examples.field, fold)
        for name, (head, source) in pixel_models.items():
            if source in features:
                out = predicted.setdefault(name, np.full(len(truth), np.nan))
                out[fold.test] = _predict_pixels(head, features[source], masked, fold, seed)
        for name, source in chip_models.items():
            if source in features:
                out = predicted.setdefault(name, np.full(len(truth), np.nan))
                out[fold.test] = _predict_whole(examples, features[source], masked, fold, seed)
        out = predicted.setdefault("encoder/context", np.full(len(truth), np.nan))
        out[fold.test] = _predict_context(examples, features["encoder"], masked, fold, seed)
    return predicted


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
    examples: Examples, values: npt.NDArray[Any], truth: Floats, fold: Fold, seed: int
) -> Ints:
    """Return class numbers of the test units, from a U-Net over chips."""
    assert examples.chip is not None  # noqa: S101 - the caller has chips
    side = np.zeros(len(examples), bool)
    side[fold.train] = True
    first = examples.chip.reshape(len(examples.chip), -1).max(axis=1)
    is_train = side[first]
    train, test = examples.chip[is_train], examples.chip[~is_train]
    num_classes = int(np.nanmax(truth)) + 1
    labels = predict_unet(
        _laid_out(values, train), _laid_out(truth[:, None], train)[..., 0], _laid_out(values, test),
        num_classes=num_classes, seed=seed,
    )  # fmt: skip
    everywhere = np.zeros(len(examples), np.int64)
    everywhere[test[test != NO_PIXEL]] = labels[test != NO_PIXEL]
    return everywhere[fold.test]


def _predict_context(
    examples: Examples, values: npt.NDArray[Any], truth: Floats, fold: Fold, seed: int
) -> Ints:
    """Return class numbers of the test units, each from its neighbourhood in the chip."""
    rows = _labelled_train(truth, fold, seed)
    around = neighbourhoods(examples, values)
    blocks = np.split(fold.test, range(UNITS_AT_ONCE, len(fold.test), UNITS_AT_ONCE))
    return predict_context(
        around(rows), truth[rows].astype(np.int64), map(around, blocks), seed=seed
    )


def neighbourhoods(
    examples: Examples, values: npt.NDArray[Any]
) -> Callable[[Ints], npt.NDArray[np.float32]]:
    """Return a function of units: what lies around them, (M, 5, 5, F); zero beyond the edge."""
    assert examples.chip is not None  # noqa: S101 - the caller has chips
    margin = CONTEXT // 2
    chip = np.pad(
        examples.chip, ((0, 0), (margin, margin), (margin, margin)), constant_values=NO_PIXEL
    )
    place = np.argwhere(examples.chip != NO_PIXEL)
    where = np.empty((len(examples), 3), np.int64)
    where[examples.chip[tuple(place.T)]] = place
    step = np.arange(CONTEXT)

    def around(rows: Ints) -> npt.NDArray[np.float32]:
        number, row, column = where[rows].T
        units = chip[
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
