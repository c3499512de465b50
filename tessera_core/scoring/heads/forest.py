"""Random forests; features need no standardising."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.scoring.heads.checks import settled

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

NUM_THREADS: Final = 2

MIN_SAMPLES_FOR_THREADS: Final = 300
MAX_TREE_SAMPLES: Final = 500
"""D-pixels that one tree sees. Those of a field are near copies: nine times as many cost seven
times the time and gain 0.004 of accuracy on simulated crops."""


def predict_forest(
    train: Floats, classes: Ints, test: Floats, *, num_trees: int, seed: int
) -> Ints:
    """Classify by a random forest; one class alone gives that class.

    Args:
        train: (N, F).
        classes: (N,), or (N, L) labels of 0 and 1, for which all trees answer together.
        test: (M, F).
        num_trees: Trees.
        seed: For the rows and features that a tree sees.

    Returns:
        (M,) or (M, L).
    """
    from sklearn.ensemble import RandomForestClassifier

    if (sole := settled(train, classes, test)) is not None:
        return sole
    if classes.ndim == 2 and classes.shape[1] == 1:
        # The library warns of a single column.
        return predict_forest(train, classes[:, 0], test, num_trees=num_trees, seed=seed)[:, None]
    model = RandomForestClassifier(num_trees, random_state=seed, **_forest_settings(len(train)))
    predicted: Ints = _predict_in_order(model.fit(train, classes), test)
    return predicted


def predict_forest_value(
    train: Floats, target: npt.NDArray[np.float64], test: Floats, *, num_trees: int, seed: int
) -> npt.NDArray[np.float64]:
    """Regress by a random forest; one value alone gives that value."""
    from sklearn.ensemble import RandomForestRegressor

    if (sole := settled(train, target, test)) is not None:
        return sole
    settings = _forest_settings(len(train))
    model = RandomForestRegressor(num_trees, random_state=seed, max_features="sqrt", **settings)
    predicted: npt.NDArray[np.float64] = _predict_in_order(model.fit(train, target), test)
    return predicted


def _forest_settings(num_train: int) -> dict[str, int]:
    return {
        "max_samples": min(num_train, MAX_TREE_SAMPLES),
        # A tree of few samples is grown before a second thread has woken up.
        "n_jobs": NUM_THREADS if num_train > MIN_SAMPLES_FOR_THREADS else 1,
    }


def _predict_in_order(model: Any, test: Floats) -> Any:
    # Trees are summed in the order in which threads finish; one thread keeps the last digit.
    model.n_jobs = 1
    return model.predict(test)
