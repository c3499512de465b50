"""Gradient boosting on histograms; features need no standardising."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.evaluate.heads.checks import only_class

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

MAX_ITERATIONS: Final = 60
LEARNING_RATE: Final = 0.12
MIN_LEAF: Final = 5
"""Fields are few: leaves of twenty units, the library's default, would never split them."""

MAX_BINS: Final = 64


def predict_boosting(train: Floats, classes: Ints, test: Floats, *, seed: int) -> Ints:
    """Classify by boosted trees; training rows of one class alone give that class."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if (sole := only_class(classes)) is not None:
        return np.full(len(test), sole)
    model = HistGradientBoostingClassifier(**_settings(seed))
    predicted: Ints = model.fit(train, classes).predict(test)
    return predicted


def predict_boosting_value(
    train: Floats, target: npt.NDArray[np.float64], test: Floats, *, seed: int
) -> npt.NDArray[np.float64]:
    """Regress by boosted trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(**_settings(seed))
    predicted: npt.NDArray[np.float64] = model.fit(train, target).predict(test)
    return predicted


def _settings(seed: int) -> dict[str, Any]:
    return {
        "max_iter": MAX_ITERATIONS,
        "learning_rate": LEARNING_RATE,
        "min_samples_leaf": MIN_LEAF,
        "max_bins": MAX_BINS,
        "early_stopping": False,
        "random_state": seed,
    }
