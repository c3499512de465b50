"""The head for very few labels."""

import numpy as np
import pytest

from tessera_core.errors import InputError
from tessera_core.evaluate.heads.few_shot import predict_few_shot, whitening
from tessera_core.evaluate.heads.linear import predict_standardised_linear


def planted(seed, *, num_fields=60, num_per_field=8, num_noise=6):
    """Fields of two crops that differ in one direction, under loud noise within each field."""
    rng = np.random.default_rng(seed)
    field = np.repeat(np.arange(num_fields), num_per_field)
    classes = field % 2
    values = rng.normal(size=(len(field), 1 + num_noise)) * ([0.3] + [6.0] * num_noise)
    values[:, 0] += 2.0 * classes
    return values, classes, field


def balanced(predicted, classes):
    return np.mean([(predicted[classes == one] == one).mean() for one in (0, 1)])


def test_with_two_labels_it_finds_what_the_plain_probe_cannot():
    ours, plain = [], []
    for seed in range(20):
        pool, classes, field = planted(seed)
        test, truth, _ = planted(seed + 100)
        rng = np.random.default_rng(seed)
        rows = np.array([rng.choice(np.flatnonzero(classes == one)) for one in (0, 1)])
        found = predict_few_shot(pool, classes[rows], rows, test, pool_groups=field)
        ours.append(balanced(found, truth))
        plain.append(balanced(predict_standardised_linear(pool[rows], classes[rows], test), truth))

    assert np.mean(ours) > np.mean(plain) + 0.1


def test_whitened_values_differ_alike_within_fields():
    values, _, field = planted(0)
    values = values / values.std(axis=0)

    turned = values @ whitening(values, field)

    means = np.stack([turned[field == one].mean(axis=0) for one in np.unique(field)])
    within = np.linalg.eigvalsh(np.cov((turned - means[field]).T))
    # The six loud directions; the quiet one is turned up too, but shrinkage keeps it below.
    assert within[-1] / within[1] < 1.3
    assert within[0] < within[1]


def test_fields_of_one_pixel_leave_directions_as_they_are():
    values = np.random.default_rng(0).normal(size=(9, 3))

    turned = whitening(values, np.arange(9))

    assert np.allclose(turned @ turned.T, np.eye(3) / 0.5)


def test_labels_of_one_class_give_that_class():
    pool, _, field = planted(0)

    found = predict_few_shot(pool, np.array([7, 7]), np.array([0, 1]), pool[:4], pool_groups=field)

    assert found.tolist() == [7] * 4


def test_a_value_that_is_not_finite_is_refused():
    pool, classes, field = planted(0)
    pool[0, 0] = np.nan

    with pytest.raises(InputError):
        predict_few_shot(pool, classes[:2], np.array([0, 1]), pool[2:4], pool_groups=field)
