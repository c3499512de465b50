"""What lies between fields and what within them: a Gaussian model with classes and fields.

A d-pixel is the mean of its class, plus what is its field's own, plus noise. Which d-pixels share a
field tells the noise; the rest is divided between class and field by a fixed share. In axes in
which the noise has variance 1 and nothing is correlated, every direction is a sum on its own.
Shapes: N pool rows, M test rows, G fields, K classes, D features, R rows of any kind.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Means = tuple[Floats, Floats]
"""What is known of class means: centre and variance, (K, D) each."""

FIELD_SHARE: Final = 0.3
"""Of the variance between fields, what is taken to lie within a class. Fixed, like all numbers
here, so that no version is tuned more than another; chosen on the selection fields and on other
simulated scenes, where 0.2 and 0.3 score within a point."""

NOISE_SHRINKAGE: Final = 0.05
"""Share of the noise that is taken to be equal in all directions."""

NUM_ROUNDS: Final = 3
"""Times that unlabelled fields are assigned; none, or ten, scores up to two points less."""

EVIDENCE_SHARE: Final = 0.3
"""Features say the same thing several times; so unlabelled fields are believed less."""

LEAST_VARIANCE: Final = 1e-3
"""Between fields, in any direction, in units of the noise."""

LEAST_NOISE: Final = 1e-6
"""Of standardised features: d-pixels of a field that are all alike must not divide by zero."""


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


def field_axes(pool_ND: Floats, test_MD: Floats, of_pixel: Ints) -> Axes:
    """Return rows in the directions that diagonalise noise and differences between fields.

    Args:
        pool_ND: Standardised.
        test_MD: Standardised alike.
        of_pixel: (N,), number of the field, 0..G-1, each at least once.
    """
    from scipy.linalg import eigh

    count_G = np.bincount(of_pixel)
    field_GD = mean_by_field(pool_ND, of_pixel)
    residual_ND = pool_ND - field_GD[of_pixel]
    num_free = max(1, len(pool_ND) - len(count_G))
    noise_DD = residual_ND.T @ residual_ND / num_free
    level = max(float(np.trace(noise_DD)) / len(noise_DD), LEAST_NOISE)
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


def learn_means(axes: Axes, votes_GK: Ints) -> Means:
    """Return the class means after unlabelled fields have joined; labelled ones stay.

    Args:
        axes: G fields.
        votes_GK: Labels of each field, by class; each class has one or more.
    """
    total_G1 = votes_GK.sum(axis=1, keepdims=True)
    share_GK = votes_GK / np.maximum(total_G1, 1)
    means = _posterior(axes, share_GK)
    for _ in range(NUM_ROUNDS):
        evidence_GK = log_likelihood(axes.field_GD, means, axes, axes.noise_G[:, None])
        guessed_GK = np.exp(normalise(EVIDENCE_SHARE * evidence_GK))
        means = _posterior(axes, np.where(total_G1 > 0, share_GK, guessed_GK))
    return means


def log_likelihood(rows_RD: Floats, means: Means, axes: Axes, noise: float | Floats) -> Floats:
    """Return the log likelihood of rows in each class, (R, K); the noise of a d-pixel is 1."""
    found_RK = np.empty((len(rows_RD), len(means[0])))
    for number, (centre_D, variance_D) in enumerate(zip(*means, strict=True)):
        spread = variance_D + FIELD_SHARE * axes.between_D + noise
        found_RK[:, number] = -0.5 * ((rows_RD - centre_D) ** 2 / spread + np.log(spread)).sum(1)
    return found_RK


def mean_by_field(rows_NC: npt.NDArray[Any], of_pixel: Ints) -> Floats:
    """Return the mean of each field's rows, (G, C)."""
    order = np.argsort(of_pixel, kind="stable")
    count_G = np.bincount(of_pixel)
    sums_GC = np.add.reduceat(rows_NC[order], np.cumsum(count_G) - count_G, axis=0)
    means_GC: Floats = sums_GC / count_G[:, None]
    return means_GC


def normalise(log_RK: Floats) -> Floats:
    """Return logarithms of shares that sum to 1."""
    shifted_RK: Floats = log_RK - log_RK.max(axis=1, keepdims=True)
    share_RK: Floats = shifted_RK - np.log(np.exp(shifted_RK).sum(axis=1, keepdims=True))
    return share_RK


def _posterior(axes: Axes, share_GK: Floats) -> Means:
    """Return what is known of class means, given the shares of fields in classes."""
    weight_GD = 1 / (FIELD_SHARE * axes.between_D + axes.noise_G[:, None])
    precision_KD = 1 / ((1 - FIELD_SHARE) * axes.between_D) + share_GK.T @ weight_GD
    return share_GK.T @ (weight_GD * axes.field_GD) / precision_KD, 1 / precision_KD
