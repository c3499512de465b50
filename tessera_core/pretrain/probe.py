"""Linear probe on frozen embeddings, with folds that never cut a field.

It lies below ``evaluate`` so that pretraining can log the number that evaluation will judge.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

INVERSE_PENALTY: Final = 0.3
"""C of the logistic regression. Fixed, so that no version is tuned more than another; on
simulated crops 0.1 to 1 score within two points for embeddings and raw features alike."""

MAX_ITERATIONS: Final = 300
TOLERANCE: Final = 1e-3

MIN_CLASSES: Final = 2
"""Fewer classes leave nothing to tell apart."""

MIN_FOLDS: Final = 2


def linear_probe_accuracy(
    embeddings: npt.NDArray[np.float32],
    classes: Ints,
    groups: Ints,
    *,
    num_folds: int,
    seed: int,
) -> float:
    """Return the out-of-fold accuracy of a linear probe under field-disjoint folds, 0..1.

    Classes with fewer fields than folds (``thin_classes``) and rows with NaN, which stand for
    d-pixels without data, are left out.

    Args:
        embeddings: (N, D).
        classes: (N,) class codes.
        groups: (N,) field ids.
        num_folds: Folds, 2 or more.
        seed: Chooses the folds.

    Raises:
        InputError: Fewer than two classes have enough fields.
    """
    usable = np.asarray(np.isfinite(embeddings).all(axis=1))
    usable[usable] = ~np.isin(
        classes[usable], list(thin_classes(classes[usable], groups[usable], num_folds))
    )
    num_classes = len(np.unique(classes[usable]))
    if num_classes < MIN_CLASSES:
        raise InputError(
            f"a linear probe needs {MIN_CLASSES} classes with at least {num_folds} fields each, "
            f"got {num_classes} of {len(np.unique(classes))}; label more fields or lower the "
            "number of folds"
        )
    features, truth = embeddings[usable], classes[usable]
    folds = grouped_folds(truth, groups[usable], num_folds, seed)
    predicted = predict_out_of_fold(features, truth, folds)
    return float((predicted == truth).mean())


def predict_out_of_fold(features: Floats, classes: Ints, folds: Ints) -> Ints:
    """Return each row's class (N,) by a linear probe that was fitted on the other folds.

    Args:
        features: (N, D), finite.
        classes: (N,), two or more in the rest of every fold.
        folds: (N,), as ``grouped_folds`` gives them.
    """
    predicted = np.empty_like(classes)
    for fold in np.unique(folds):
        held_out = folds == fold
        known = features[~held_out]
        train, test = standardise(known, known, features[held_out])
        predicted[held_out] = predict_linear(train, classes[~held_out], test)
    return predicted


def thin_classes(classes: Ints, groups: Ints, num_folds: int) -> dict[int, int]:
    """Return class -> number of fields, for classes with fewer fields than folds."""
    counts = fields_per_class(classes, groups)
    return {code: count for code, count in counts.items() if count < num_folds}


def fields_per_class(classes: Ints, groups: Ints) -> dict[int, int]:
    """Return class -> number of fields, for every class that a pixel has.

    A field belongs to the class that most of its pixels have, the smallest code of several; a
    class that is nowhere in the majority has 0.
    """
    if len(classes) == 0:
        return {}
    codes, _, stratum = _strata(classes, groups)
    counts = np.bincount(stratum, minlength=len(codes))
    return dict(zip(codes.tolist(), counts.tolist(), strict=True))


def grouped_folds(classes: Ints, groups: Ints, num_folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each pixel, 0..num_folds-1; a field is never on two sides.

    The fields of every class are dealt to the folds in random order, so that their numbers per
    fold differ by at most one. The order of the rows does not matter.

    Args:
        classes: (N,) class codes.
        groups: (N,) field ids.
        num_folds: Folds, 2 or more.
        seed: Chooses the order of dealing.

    Raises:
        InputError: There is no pixel, fewer than two folds, or a class with fewer fields than
            folds.
    """
    if len(classes) == 0:
        raise InputError("folds need labelled pixels, got none; check the labels")
    if num_folds < MIN_FOLDS:
        raise InputError(f"got {num_folds} folds, expected {MIN_FOLDS} or more: one is held out")
    if thin := thin_classes(classes, groups, num_folds):
        listed = ", ".join(f"{code} has {count}" for code, count in thin.items())
        raise InputError(
            f"{num_folds} folds need {num_folds} fields of each class, but class {listed}; "
            "leave these classes out (thin_classes) or lower the number of folds"
        )
    codes, group_of_pixel, stratum = _strata(classes, groups)
    rng = np.random.default_rng(seed)
    fold_of_group = np.empty(len(stratum), np.int64)
    load = np.zeros(num_folds)
    for number in range(len(codes)):
        members = rng.permutation(np.flatnonzero(stratum == number))
        # Emptiest fold first: the remainders of all classes would else pile up in fold 0.
        order = np.lexsort((rng.random(num_folds), load))
        fold_of_group[members] = order[np.arange(len(members)) % num_folds]
        load += np.bincount(fold_of_group[members], minlength=num_folds)
    return fold_of_group[group_of_pixel]


def standardise(reference: Floats, *others: Floats) -> list[npt.NDArray[np.float64]]:
    """Return ``others`` with the mean and deviation of ``reference`` taken out, by column.

    A column that is constant in ``reference`` is only centred.
    """
    wide = reference.astype(np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    deviation[deviation == 0] = 1
    return [(other - mean) / deviation for other in others]


def predict_linear(train: Floats, classes: Ints, test: Floats) -> npt.NDArray[np.int64]:
    """Fit multinomial logistic regression on standardised features and classify ``test``.

    Args:
        train: (N, D), standardised.
        classes: (N,), two classes or more.
        test: (M, D), standardised alike.

    Returns:
        (M,) predicted class codes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, tol=TOLERANCE)
    with single_blas_thread(), warnings.catch_warnings():
        # Which class wins is settled long before the last digit of the loss.
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted: npt.NDArray[np.int64] = model.fit(train, classes).predict(test)
    return predicted


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Run small linear algebra on one thread.

    Threads wait for each other longer than these matrices take (measured: 16 ms against
    seconds on two busy cores), and sums in another order give other digits.
    """
    with _thread_pools().limit(limits=1):
        yield


def use_one_blas_thread() -> None:
    """Run linear algebra of this process on one thread from now on: one process, one core."""
    _thread_pools().limit(limits=1)


@cache
def _thread_pools() -> Any:
    """Return the handle to the numeric libraries' threads; finding them takes milliseconds."""
    import sklearn.linear_model  # noqa: F401 - loads the libraries that are to be found
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _strata(
    classes: Ints, groups: Ints
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return codes (K,), the group of each pixel (N,) and the class of each group (G,).

    Groups and classes are numbered in the order of their ids.
    """
    codes, class_of_pixel = np.unique(classes, return_inverse=True)
    ids, group_of_pixel = np.unique(groups, return_inverse=True)
    votes = np.bincount(
        group_of_pixel * len(codes) + class_of_pixel, minlength=len(ids) * len(codes)
    )
    stratum = votes.reshape(len(ids), len(codes)).argmax(axis=1)
    return codes.astype(np.int64), group_of_pixel, stratum
