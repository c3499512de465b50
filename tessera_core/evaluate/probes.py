"""The small models that score features: each fits on training rows and predicts test rows."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from tessera_core.pretrain.probe import predict_linear, single_blas_thread, standardise

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Target = TypeVar("Target", np.int64, np.float64)
Probe = Callable[[Floats, Any, Floats], Any]
"""(train features, train truth, test features) -> predicted truth."""

RIDGE_PENALTY: Final = 30.0
"""Fixed, like the penalty of the linear probe, so that no version is tuned more than another."""

NUM_THREADS: Final = 2

MIN_SAMPLES_FOR_THREADS: Final = 300
MAX_TREE_SAMPLES: Final = 500
"""D-pixels that one tree sees. Those of a field are near copies: nine times as many cost seven
times the time and gain 0.004 of accuracy on simulated crops."""


def predict_standardised_linear(train: Floats, classes: Ints, test: Floats) -> Ints:
    """Classify by logistic regression on features standardised with the training rows."""
    known, asked = standardise(train, train, test)
    return predict_linear(known, classes, asked)


def predict_knn(train: Floats, classes: Ints, test: Floats, *, num_neighbours: int) -> Ints:
    """Classify by the nearest labelled d-pixels in standardised features.

    Nearer neighbours weigh more, which also breaks ties. With fewer labels than
    ``num_neighbours``, all of them vote.
    """
    from sklearn.neighbors import KNeighborsClassifier

    near, far = standardise(train, train, test)
    model = KNeighborsClassifier(
        n_neighbors=min(num_neighbours, len(train)), weights="distance", algorithm="brute"
    )
    with single_blas_thread():
        predicted: Ints = model.fit(near, classes).predict(far)
    return predicted


def predict_forest(
    train: Floats, classes: Ints, test: Floats, *, num_trees: int, seed: int
) -> Ints:
    """Classify by a random forest; features need no standardising."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(num_trees, random_state=seed, **_forest_settings(len(train)))
    predicted: Ints = _predict_in_order(model.fit(train, classes), test)
    return predicted


def predict_majority(train: Floats, classes: Ints, test: Floats) -> Ints:
    """Return the most frequent training class for every row, the smallest code of several."""
    codes, counts = np.unique(classes, return_counts=True)
    return np.full(len(test), codes[counts.argmax()], np.int64)


def predict_ridge(
    train: Floats, target: npt.NDArray[np.float64], test: Floats
) -> npt.NDArray[np.float64]:
    """Regress linearly on standardised features."""
    from sklearn.linear_model import Ridge

    known, asked = standardise(train, train, test)
    with single_blas_thread():
        predicted: npt.NDArray[np.float64] = (
            Ridge(alpha=RIDGE_PENALTY).fit(known, target).predict(asked)
        )
    return predicted


def predict_forest_value(
    train: Floats, target: npt.NDArray[np.float64], test: Floats, *, num_trees: int, seed: int
) -> npt.NDArray[np.float64]:
    """Regress by a random forest."""
    from sklearn.ensemble import RandomForestRegressor

    settings = _forest_settings(len(train))
    model = RandomForestRegressor(num_trees, random_state=seed, max_features="sqrt", **settings)
    predicted: npt.NDArray[np.float64] = _predict_in_order(model.fit(train, target), test)
    return predicted


def predict_out_of_fold(
    probe: Probe, features: Floats, truth: npt.NDArray[Target], folds: Ints
) -> npt.NDArray[Target]:
    """Return a prediction for each row from a probe that saw only the other folds, (N,)."""
    predicted = np.empty_like(truth)
    for fold in np.unique(folds):
        held_out = folds == fold
        predicted[held_out] = probe(features[~held_out], truth[~held_out], features[held_out])
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
