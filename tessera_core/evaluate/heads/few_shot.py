"""A head for few labels: it also looks at d-pixels without label, and at which share a field.

To know that d-pixels lie in one field takes no class label. It says three things: a label holds
for its whole field, what varies within fields is noise, and what varies between them is a class
and the field's own part. Two readers of this are averaged:

- a Gaussian model with two levels, class and field, in axes in which the noise has variance 1 and
  nothing is correlated; unlabelled fields join the classes with the weight that they deserve
- logistic regression on all d-pixels of labelled fields

Each test row then takes the mean opinion of its nearest rows, most of them from its own field.
Shapes: N pool rows, M test rows, L labelled rows, G fields, K classes, D features.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError
from tessera_core.evaluate.heads.checks import check_finite, settled
from tessera_core.pretrain.probe import predict_linear, single_blas_thread, standardise

Rows = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FIELD_SHARE: Final = 0.3
"""Of the variance between fields, what is taken to lie within a class. Fixed, like all numbers
here, so that no version is tuned more than another; chosen on the selection fields and on other
simulated scenes. 0.2 to 0.6 score within a point."""

NOISE_SHRINKAGE: Final = 0.05
"""Share of the noise that is taken to be equal in all directions."""

NUM_ROUNDS: Final = 3
"""Times that unlabelled fields are assigned; 0 and 10 score up to two points less at 1 label."""

EVIDENCE_SHARE: Final = 0.3
"""Features say the same thing several times; so unlabelled fields are believed less."""

NUM_NEIGHBOURS: Final = 10
"""Rows beside itself that a test row listens to. 40 reach into other fields."""

MIN_PIXELS_PER_FIELD: Final = 2
"""With fewer on average, fields say nothing about noise, and logistic regression is left."""

LEAST_VARIANCE: Final = 1e-3
"""Of a direction between fields, in units of the noise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axes:
    """Rows in directions in which noise has variance 1 and nothing is correlated."""

    field_GD: Floats
    """Means of fields."""

    pool_ND: Floats
    test_MD: Floats

    between_D: Floats
    """Variance between fields beyond what noise makes of their means."""

    noise_G: Floats
    """Variance of a field's mean: one part in as many as it has d-pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classes:
    """What is known of the classes' means: a Gaussian in each direction."""

    mean_KD: Floats
    variance_KD: Floats


def predict_few_shot(
    pool: Rows, classes: Ints, labelled: Ints, test: Rows, *, pool_groups: Ints
) -> Ints:
    """Classify with few labels, all the pool, and all test rows at once.

    What a test row gets depends on its companions, and time and memory grow with (N + M) M: give
    a map in parts. Fields of the test rows are not asked for. Where the pool has no fields of
    several d-pixels, this is logistic regression scaled by the pool.

    Args:
        pool: (N, D) features, labelled or not, all from the training side of a split.
        classes: (L,) classes of the labelled rows; one class alone gives that class.
        labelled: (L,) which rows of the pool these are.
        test: (M, D) features.
        pool_groups: (N,) field ids. A field whose labels differ counts for each class in part.

    Returns:
        (M,) class codes.

    Raises:
        InputError: There is no label, a row is not in the pool, sides have other features, a
            number is not finite, or a count differs.
    """
    _check(pool, classes, labelled, pool_groups)
    if (sole := settled(pool[labelled], classes, test)) is not None:
        return sole
    codes, of_label = np.unique(classes, return_inverse=True)
    ids, of_pixel = np.unique(pool_groups, return_inverse=True)
    pool_ND, test_MD = standardise(pool, pool, test)
    if len(pool) < MIN_PIXELS_PER_FIELD * len(ids):
        return predict_linear(pool_ND[labelled], classes, test_MD)
    votes = of_pixel[labelled] * len(codes) + of_label
    votes_GK = np.bincount(votes, minlength=len(ids) * len(codes)).reshape(len(ids), -1)
    with single_blas_thread():
        axes = _axes(pool_ND, test_MD, of_pixel)
        known = _assign(axes, votes_GK)
        fitted = _fit_logistic(pool_ND, votes_GK[of_pixel])
        opinion_MK, pool_NK = (
            # The geometric mean: where one of the two excludes a class, it is out.
            _normalise(0.5 * _normalise(_log_likelihood(rows, known, axes, 1.0))
                       + 0.5 * fitted.predict_log_proba(features))
            for rows, features in ((axes.test_MD, test_MD), (axes.pool_ND, pool_ND))
        )  # fmt: skip
        share_NK = _field_shares(np.exp(pool_NK), votes_GK, of_pixel)
        heard_MK = _listen(axes, np.exp(opinion_MK), share_NK)
    predicted: Ints = codes[heard_MK.argmax(axis=1)]
    return predicted


def _axes(pool_ND: Floats, test_MD: Floats, of_pixel: Ints) -> Axes:
    """Return rows in the directions that diagonalise noise and differences between fields."""
    from scipy.linalg import eigh

    count_G = np.bincount(of_pixel)
    field_GD = _mean_by_field(pool_ND, of_pixel)
    residual_ND = pool_ND - field_GD[of_pixel]
    num_free = max(1, len(pool_ND) - len(count_G))
    noise_DD = residual_ND.T @ residual_ND / num_free
    # Fields of identical d-pixels have no noise at all; that must not divide by zero.
    level = max(float(np.trace(noise_DD)) / len(noise_DD), LEAST_VARIANCE**2)
    noise_DD = (1 - NOISE_SHRINKAGE) * noise_DD + NOISE_SHRINKAGE * level * np.eye(len(noise_DD))
    centre_D = field_GD.mean(axis=0)
    apart_GD = field_GD - centre_D
    between_D, turn_DD = eigh(apart_GD.T @ apart_GD / len(apart_GD), noise_DD)
    return Axes(
        field_GD=apart_GD @ turn_DD,
        pool_ND=(pool_ND - centre_D) @ turn_DD,
        test_MD=(test_MD - centre_D) @ turn_DD,
        between_D=np.maximum(between_D - (1 / count_G).mean(), LEAST_VARIANCE),
        noise_G=1 / count_G,
    )


def _assign(axes: Axes, votes_GK: Ints) -> Classes:
    """Return the classes after unlabelled fields have joined them; labelled ones stay."""
    is_labelled = votes_GK.sum(axis=1) > 0
    share_GK = votes_GK / np.maximum(votes_GK.sum(axis=1, keepdims=True), 1)
    known = _class_means(axes, share_GK)
    for _ in range(NUM_ROUNDS):
        evidence_GK = _log_likelihood(axes.field_GD, known, axes, axes.noise_G[:, None])
        guessed_GK = np.exp(_normalise(EVIDENCE_SHARE * evidence_GK))
        known = _class_means(axes, np.where(is_labelled[:, None], share_GK, guessed_GK))
    return known


def _class_means(axes: Axes, share_GK: Floats) -> Classes:
    """Return the posterior of class means, given the shares of fields in classes."""
    weight_GD = 1 / (FIELD_SHARE * axes.between_D + axes.noise_G[:, None])
    precision_KD = 1 / ((1 - FIELD_SHARE) * axes.between_D) + share_GK.T @ weight_GD
    return Classes(
        mean_KD=share_GK.T @ (weight_GD * axes.field_GD) / precision_KD,
        variance_KD=1 / precision_KD,
    )


def _log_likelihood(rows_RD: Floats, known: Classes, axes: Axes, noise: float | Floats) -> Floats:
    """Return the log likelihood of rows in each class, (R, K); ``noise`` is 1 for d-pixels."""
    found_RK = np.empty((len(rows_RD), len(known.mean_KD)))
    for number, (mean_D, variance_D) in enumerate(
        zip(known.mean_KD, known.variance_KD, strict=True)
    ):
        spread = variance_D + FIELD_SHARE * axes.between_D + noise
        found_RK[:, number] = -0.5 * ((rows_RD - mean_D) ** 2 / spread + np.log(spread)).sum(axis=1)
    return found_RK


def _fit_logistic(pool_ND: Floats, votes_NK: Ints) -> Any:
    """Return logistic regression fitted on all d-pixels of labelled fields."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    from tessera_core.pretrain.probe import INVERSE_PENALTY, MAX_ITERATIONS, TOLERANCE

    rows = np.flatnonzero(votes_NK.sum(axis=1))
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, tol=TOLERANCE)
    # A class that is nowhere in the majority of a field still needs its column.
    row, number = np.nonzero(votes_NK[rows])
    weight = votes_NK[rows][row, number] / votes_NK[rows].sum(axis=1)[row]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(pool_ND[rows[row]], number, weight)


def _field_shares(opinion_NK: Floats, votes_GK: Ints, of_pixel: Ints) -> Floats:
    """Return what pool rows say: the labels of their field, or else its mean opinion, (N, K)."""
    total_G = votes_GK.sum(axis=1, keepdims=True)
    share_GK = np.where(
        total_G > 0, votes_GK / np.maximum(total_G, 1), _mean_by_field(opinion_NK, of_pixel)
    )
    share_NK: Floats = share_GK[of_pixel]
    return share_NK


def _listen(axes: Axes, opinion_MK: Floats, share_NK: Floats) -> Floats:
    """Return the mean opinion of each test row and its nearest rows of both sides, (M, K)."""
    from sklearn.neighbors import NearestNeighbors

    # Directions without difference between fields are noise to a distance too.
    scale_D = np.sqrt(axes.between_D / (1 + axes.between_D))
    all_rows = np.concatenate([axes.test_MD, axes.pool_ND]) * scale_D
    num = min(NUM_NEIGHBOURS + 1, len(all_rows))
    search = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(all_rows)
    nearest = search.kneighbors(axes.test_MD * scale_D, return_distance=False)
    heard_MK: Floats = np.concatenate([opinion_MK, share_NK])[nearest].mean(axis=1)
    return heard_MK


def _mean_by_field(rows_NC: Floats, of_pixel: Ints) -> Floats:
    order = np.argsort(of_pixel, kind="stable")
    count_G = np.bincount(of_pixel)
    sums_GC = np.add.reduceat(rows_NC[order], np.cumsum(count_G) - count_G, axis=0)
    means_GC: Floats = sums_GC / count_G[:, None]
    return means_GC


def _normalise(log_RK: Floats) -> Floats:
    """Return logarithms of shares that sum to 1."""
    highest = log_RK.max(axis=1, keepdims=True)
    shifted: Floats = log_RK - highest
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


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
