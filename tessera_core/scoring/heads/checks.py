"""What a head asks of its rows before it learns from them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError

Rows = npt.NDArray[Any]


def settled(train: Rows, truth: Rows, test: Rows) -> Rows | None:
    """Return the prediction where nothing is left to learn, or None where a model must be fitted.

    Training rows that all have the same truth (one class, one value, one set of labels) give that
    truth for every test row; without test rows there is nothing to predict.

    Args:
        train: (N, ...) features.
        truth: (N,) classes or values, or (N, L) labels.
        test: (M, ...) features.

    Returns:
        (M,) or (M, L) of the type of ``truth``, or None.

    Raises:
        InputError: See ``check_rows``.
    """
    check_rows(train, truth, test)
    if len(test) and (truth != truth[0]).any():
        return None
    return np.repeat(truth[:1], len(test), axis=0)


def check_rows(train: Rows, truth: Rows, test: Rows) -> None:
    """Refuse rows that no head can learn from.

    Args:
        train: (N, ...) features.
        truth: (N, ...) one truth per training row.
        test: (M, ...) features.

    Raises:
        InputError: There is no training row, their number differs from that of the truth, train
            and test rows have other shapes, or a number is not finite.
    """
    if not len(train) or len(train) != len(truth):
        raise InputError(
            f"a head got {len(train)} training rows and the truth of {len(truth)}, expected one "
            "truth per row and at least one row; give the fold labelled units"
        )
    if train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"a head got training rows of shape {train.shape[1:]} and test rows of shape "
            f"{test.shape[1:]}, expected the same features on both sides"
        )
    check_finite(**{"training features": train, "truth": truth, "test features": test})


def check_finite(**parts: Rows) -> None:
    """Refuse NaN and infinity.

    Args:
        parts: What it is called in the message -> its numbers, of any shape.

    Raises:
        InputError: A number is not finite.
    """
    for name, values in parts.items():
        if not np.isfinite(values).all():
            count = int(np.count_nonzero(~np.isfinite(values)))
            raise InputError(
                f"{count} of {values.size} numbers in the {name} of a head are not finite; leave "
                "units without data or label out, or fill them first"
            )
