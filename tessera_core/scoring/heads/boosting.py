"""Gradient boosting on histograms; features need no standardising."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.pretrain.probe import single_blas_thread
from tessera_core.scoring.heads.checks import settled

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

MAX_ITERATIONS: Final = 60
LEARNING_RATE: Final = 0.12
MAX_LEAF: Final = 5
ROWS_PER_LEAF: Final = 10
"""Units are few: leaves of twenty, the library's default, would never split them, nor would leaves
of five split the first ten."""

MAX_BINS: Final = 64


def predict_boosting(train: Floats, classes: Ints, test: Floats, *, seed: int) -> Ints:
    """Classify by boosted trees; one class alone gives that class."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if (sole := settled(train, classes, test)) is not None:
        return sole
    model = HistGradientBoostingClassifier(**_settings(len(train), seed))
    with single_blas_thread():
        predicted: Ints = model.fit(train, classes).predict(test)
    return predicted


def predict_boosting_value(
    train: Floats, target: npt.NDArray[np.float64], test: Floats, *, seed: int
) -> npt.NDArray[np.float64]:
    """Regress by boosted trees; one value alone gives that value."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    if (sole := settled(train, target, test)) is not None:
        return sole
    model = HistGradientBoostingRegressor(**_settings(len(train), seed))
    with single_blas_thread():
        predicted: npt.NDArray[np.float64] = model.fit(train, target).predict(test)
    return predicted


def _settings(num_train: int, seed: int) -> dict[str, Any]:
    return {
        "max_iter": MAX_ITERATIONS,
        "learning_rate": LEARNING_RATE,
        "min_samples_leaf": min(MAX_LEAF, max(1, num_train // ROWS_PER_LEAF)),
        "max_bins": MAX_BINS,
        "early_stopping": False,
        "random_state": seed,
    }
