"""Linear heads: logistic regression and ridge, on standardised features."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.pretrain.probe import predict_linear, single_blas_thread, standardise
from tessera_core.scoring.heads.checks import settled

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

RIDGE_PENALTY: Final = 30.0
"""Fixed, like the penalty of the linear probe, so that no version is tuned more than another."""


def predict_standardised_linear(train: Floats, classes: Ints, test: Floats) -> Ints:
    """Classify by logistic regression on features standardised with the training rows.

    Training rows of one class alone give that class.
    """
    if (sole := settled(train, classes, test)) is not None:
        return sole
    known, asked = standardise(train, train, test)
    return predict_linear(known, classes, asked)


def predict_ridge(
    train: Floats, target: npt.NDArray[np.float64], test: Floats
) -> npt.NDArray[np.float64]:
    """Regress linearly on standardised features; one value alone gives that value."""
    from sklearn.linear_model import Ridge

    if (sole := settled(train, target, test)) is not None:
        return sole
    known, asked = standardise(train, train, test)
    with single_blas_thread():
        predicted: npt.NDArray[np.float64] = (
            Ridge(alpha=RIDGE_PENALTY).fit(known, target).predict(asked)
        )
    return predicted
