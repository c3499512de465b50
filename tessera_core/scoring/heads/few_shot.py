"""A head for few labels: it also looks at d-pixels without label, and at which share a field.

To know that d-pixels lie in one field takes no class label. A label then holds for its whole field,
and what varies within fields is noise. The opinions of two models are averaged (``field_model``,
and logistic regression on all d-pixels of labelled fields), and each test row takes the mean
opinion of its nearest rows, most of them from its own field.

It is for embeddings, ten labels per class or fewer, and pools with fields. With a hundred labels
logistic regression is as good; on raw series of few real parcels that is better from fifty on.
Shapes: N pool rows, M test rows, L labelled rows, G fields, K classes, D features.
"""

import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError
from tessera_core.pretrain.probe import (
    INVERSE_PENALTY,
    MAX_ITERATIONS,
    TOLERANCE,
    predict_linear,
    single_blas_thread,
    standardise,
)
from tessera_core.scoring.heads.checks import check_finite, settled
from tessera_core.scoring.heads.field_model import (
    Axes,
    Floats,
    Ints,
    field_axes,
    learn_means,
    log_likelihood,
    mean_by_field,
    normalise,
)

Rows = npt.NDArray[np.floating[Any]]

NUM_NEIGHBOURS: Final = 10
"""Rows beside itself that a test row listens to; 40 reach into other fields and score less."""

MIN_PIXELS_PER_FIELD: Final = 2
"""With fewer on average, fields tell nothing about noise, and logistic regression is left."""


def predict_few_shot(
    pool: Rows, classes: Ints, labelled: Ints, test: Rows, *, pool_groups: Ints
) -> Ints:
    """Classify with few labels, all of the pool, and all test rows at once.

    What a test row gets depends on its companions, and time grows with (N + M) M: give a map in
    parts. Fields of test rows are not asked for. Where the pool has no fields of several d-pixels,
    this is logistic regression scaled by the pool.

    Args:
        pool: (N, D) features, labelled or not, all from the training side of a split.
        classes: (L,) classes of the labelled rows; one class alone gives that class.
        labelled: (L,) which rows of the pool these are, 0..N-1.
        test: (M, D) features.
        pool_groups: (N,) field ids. A field whose labels differ counts for each class in part.

    Returns:
        (M,) class codes.

    Raises:
        InputError: There is no label, a row is not in the pool, the sides have other features, a
            number is not finite, or counts differ.
    """
    _check(pool, classes, labelled, pool_groups)
    if (sole := settled(pool[labelled], classes, test)) is not None:
        return sole
    codes, of_label = np.unique(classes, return_inverse=True)
    ids, of_pixel = np.unique(pool_groups, return_inverse=True)
    pool_ND, test_MD = standardise(pool, pool, test)
    if len(pool) < MIN_PIXELS_PER_FIELD * len(ids):
        return predict_linear(pool_ND[labelled], classes, test_MD)
    vote = of_pixel[labelled] * len(codes) + of_label
    votes_GK = np.bincount(vote, minlength=len(ids) * len(codes)).reshape(len(ids), len(codes))
    with single_blas_thread():
        axes = field_axes(pool_ND, test_MD, of_pixel)
        means = learn_means(axes, votes_GK)
        logistic = _fit_logistic(pool_ND, votes_GK[of_pixel])
        opinion_MK, opinion_NK = (
            # The geometric mean: what one of the two excludes is out.
            normalise(
                0.5 * normalise(log_likelihood(turned, means, axes, 1.0))
                + 0.5 * logistic.predict_log_proba(plain)
            )
            for turned, plain in ((axes.test_MD, test_MD), (axes.pool_ND, pool_ND))
        )
        share_NK = _field_shares(np.exp(opinion_NK), votes_GK, of_pixel)
        heard_MK = _listen(axes, np.exp(opinion_MK), share_NK)
    predicted: Ints = codes[heard_MK.argmax(axis=1)]
    return predicted


def _fit_logistic(pool_ND: Floats, votes_NK: Ints) -> Any:
    """Return logistic regression fitted on all d-pixels of labelled fields."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # A row of a field with labels of two classes comes once for each, with its part of weight.
    row, number = np.nonzero(votes_NK)
    weight = votes_NK[row, number] / votes_NK[row].sum(axis=1)
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(pool_ND[row], number, weight)


def _field_shares(opinion_NK: Floats, votes_GK: Ints, of_pixel: Ints) -> Floats:
    """Return what pool rows say: the labels of their field, or else its mean opinion, (N, K)."""
    total_G1 = votes_GK.sum(axis=1, keepdims=True)
    mean_GK = mean_by_field(opinion_NK, of_pixel)
    share_NK: Floats = np.where(total_G1, votes_GK / np.maximum(total_G1, 1), mean_GK)[of_pixel]
    return share_NK


def _listen(axes: Axes, opinion_MK: Floats, share_NK: Floats) -> Floats:
    """Return the mean opinion of each test row and its nearest rows of both sides, (M, K)."""
    from sklearn.neighbors import NearestNeighbors

    # Directions in which fields hardly differ are noise to a distance too.
    scale_D = np.sqrt(axes.between_D / (1 + axes.between_D))
    asked, told = axes.test_MD * scale_D, axes.pool_ND * scale_D
    everyone = np.concatenate([asked, told])
    num = min(NUM_NEIGHBOURS + 1, len(everyone))
    search = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(everyone)
    nearest = search.kneighbors(asked, return_distance=False)
    heard_MK: Floats = np.concatenate([opinion_MK, share_NK])[nearest].mean(axis=1)
    return heard_MK


def _check(pool: Rows, classes: Ints, labelled: Ints, pool_groups: Ints) -> None:
    if len(pool_groups) != len(pool) or len(labelled) != len(classes):
        raise InputError(
            f"a few-shot head got {len(pool)} pool rows with {len(pool_groups)} field ids, and "
            f"{len(labelled)} labelled rows with {len(classes)} classes; expected one each"
        )
    if len(labelled) and not 0 <= labelled.min() <= labelled.max() < len(pool):
        raise InputError(
            f"labelled rows reach from {labelled.min()} to {labelled.max()}, but the pool has "
            f"{len(pool)} rows; give places in the pool"
        )
    check_finite(**{"pool features": pool})
