"""Several yes-or-no answers per unit: a model per label, or one that answers for all."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.scoring.heads.checks import settled
from tessera_core.scoring.heads.forest import predict_forest
from tessera_core.scoring.heads.linear import predict_standardised_linear
from tessera_core.scoring.heads.mlp import NUM_STEPS, run_mlp

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
    return predict_forest(train, truth, test, num_trees=num_trees, seed=seed)


def predict_multilabel_mlp(
    train: Floats, truth: Ints, test: Floats, *, seed: int, num_steps: int = NUM_STEPS
) -> Ints:
    """Return 0 or 1 for every label, (M, L), by one perceptron with an output per label.

    A label that all training units have, or none, is predicted like that: the network alone would
    lean that way without being bound to it.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    if (sole := settled(train, truth, test)) is not None:
        return sole
    output = run_mlp(
        train, truth.astype(np.float32), test, num_outputs=truth.shape[1],
        loss=binary_cross_entropy_with_logits, seed=seed, num_steps=num_steps,
    )  # fmt: skip
    is_constant = (truth == truth[0]).all(axis=0)
    return np.where(is_constant, truth[0], output > 0).astype(np.int64)
