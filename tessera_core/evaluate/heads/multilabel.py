"""Several yes-or-no answers per unit; each label has a model of its own."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.evaluate.heads.forest import predict_forest
from tessera_core.evaluate.heads.linear import predict_standardised_linear

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


def predict_multilabel(train: Floats, truth: Ints, test: Floats) -> Ints:
    """Return 0 or 1 for every label, (M, L), by one logistic regression each.

    A label that all training units have, or none, is predicted like that.

    Args:
        train: (N, F).
        truth: (N, L) of 0 and 1.
        test: (M, F).
    """
    columns = [predict_standardised_linear(train, column, test) for column in truth.T]
    return np.stack(columns, axis=1)


def predict_multilabel_forest(
    train: Floats, truth: Ints, test: Floats, *, num_trees: int, seed: int
) -> Ints:
    """Return 0 or 1 for every label, (M, L), by one forest whose trees answer for all labels."""
    return predict_forest(train, truth, test, num_trees=num_trees, seed=seed).reshape(
        -1, truth.shape[1]
    )
