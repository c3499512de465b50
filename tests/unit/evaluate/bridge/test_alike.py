"""CKA and shared neighbours on embeddings whose likeness is known."""

import numpy as np
import pytest

from tessera_core.compare.bridge.alike import linear_cka, neighbour_overlap

RNG = np.random.default_rng(1)
FIRST = RNG.normal(size=(300, 12))
ROTATION, _ = np.linalg.qr(RNG.normal(size=(12, 12)))
ALONE = np.arange(300)


def by_gram_matrices(first, second):
    """Unbiased CKA as the papers write it, from N x N matrices."""

    def hsic(k, ell):
        n, ones = len(k), np.ones(len(k))
        k, ell = k - np.diag(np.diag(k)), ell - np.diag(np.diag(ell))
        total = np.trace(k @ ell) + (ones @ k @ ones) * (ones @ ell @ ones) / (n - 1) / (n - 2)
        return (total - 2 / (n - 2) * (ones @ k @ ell @ ones)) / (n * (n - 3))

    k, ell = first @ first.T, second @ second.T
    return hsic(k, ell) / np.sqrt(hsic(k, k) * hsic(ell, ell))


def test_cka_equals_the_definition_with_gram_matrices():
    second = FIRST[:, :5] ** 2 + RNG.normal(size=(300, 5))
    mixed = np.hstack([FIRST[:, 4:] + 3, second])

    assert linear_cka(FIRST, mixed) == pytest.approx(by_gram_matrices(FIRST, mixed), rel=1e-9)


def test_cka_is_1_for_rotations_scales_and_shifts():
    assert linear_cka(FIRST, 7 * FIRST @ ROTATION + 100) == pytest.approx(1, abs=1e-9)


def test_cka_of_independent_embeddings_is_0_although_dimensions_are_many():
    found = [linear_cka(RNG.normal(size=(150, 60)), RNG.normal(size=(150, 60))) for _ in range(20)]

    assert np.mean(found) == pytest.approx(0, abs=0.02)


def test_cka_of_a_collapsed_version_is_0():
    assert linear_cka(FIRST, np.full((300, 4), 0.1)) == 0


def test_neighbours_survive_a_rotation_and_not_chance():
    assert neighbour_overlap(FIRST, FIRST @ ROTATION - 4, ALONE) == pytest.approx(1)
    assert neighbour_overlap(FIRST, RNG.normal(size=(300, 12)), ALONE) < 0.08


def test_neighbours_of_the_own_group_do_not_count():
    field = np.repeat(np.arange(30), 10)
    first, second = (
        np.repeat(10 * RNG.normal(size=(30, 6)), 10, axis=0) + RNG.normal(size=(300, 6))
        for _ in range(2)
    )

    alone, by_field = (neighbour_overlap(first, second, group) for group in (ALONE, field))

    assert alone > 0.85, "two versions that see fields share the rest of each field"
    assert by_field < 0.15
