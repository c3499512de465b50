import numpy as np
import pytest

from tessera_core.errors import InputError
from tessera_core.pretrain.probe import (
    grouped_folds,
    linear_probe_accuracy,
    predict_linear,
    standardise,
    thin_classes,
)


def planted(*, num_fields=12, num_per_field=5, num_classes=3, spread=0.5):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(num_fields), num_per_field)
    classes = groups % num_classes + 10
    centres = rng.normal(size=(num_classes, 8)) * 4
    noise = rng.normal(size=(len(groups), 8)) * spread
    embeddings = (centres[classes - 10] + noise).astype(np.float32)
    return embeddings, classes, groups


def test_planted_classes_are_found_in_fields_never_seen():
    embeddings, classes, groups = planted()

    accuracy = linear_probe_accuracy(embeddings, classes, groups, num_folds=3, seed=0)

    assert accuracy > 0.97


def test_shuffled_labels_score_about_chance():
    embeddings, _, groups = planted(num_fields=120)
    by_field = np.random.default_rng(1).permutation(120) % 3 + 10

    accuracy = linear_probe_accuracy(embeddings, by_field[groups], groups, num_folds=3, seed=0)

    assert abs(accuracy - 1 / 3) < 0.12


def test_a_field_that_gives_itself_away_does_not_help():
    """Each field has a mark of its own; only a probe that has seen the field could use it."""
    groups = np.repeat(np.arange(60), 6)
    classes = np.random.default_rng(2).integers(0, 2, 60)[groups]
    marks = np.eye(60, dtype=np.float32)[groups]

    grouped = linear_probe_accuracy(marks, classes, groups, num_folds=3, seed=0)
    leaking = linear_probe_accuracy(marks, classes, np.arange(len(groups)), num_folds=3, seed=0)

    assert leaking > 0.95
    assert grouped < 0.7


def test_d_pixels_without_data_and_thin_classes_are_left_out():
    embeddings, classes, groups = planted()
    nothing = np.full((4, 8), np.nan, np.float32)
    lonely = np.random.default_rng(3).normal(size=(4, 8)).astype(np.float32)

    accuracy = linear_probe_accuracy(
        np.concatenate([embeddings, nothing, lonely]),
        np.concatenate([classes, np.full(4, 10), np.full(4, 77)]),
        np.concatenate([groups, np.full(8, 500)]),
        num_folds=3,
        seed=0,
    )

    assert accuracy == linear_probe_accuracy(embeddings, classes, groups, num_folds=3, seed=0)


def test_too_few_usable_classes_are_refused_with_what_is_needed():
    embeddings, classes, groups = planted(num_fields=4, num_classes=2)

    with pytest.raises(InputError, match=r"2 classes with at least 3 fields each, got 0 of 2"):
        linear_probe_accuracy(embeddings, classes, groups, num_folds=3, seed=0)


def test_folds_without_pixels_or_without_two_sides_are_refused():
    nothing = np.zeros(0, np.int64)

    with pytest.raises(InputError, match="folds need labelled pixels, got none"):
        grouped_folds(nothing, nothing, 3, seed=0)
    with pytest.raises(InputError, match="got 1 folds, expected 2 or more"):
        grouped_folds(np.array([1, 1]), np.array([1, 2]), 1, seed=0)
    assert thin_classes(nothing, nothing, 3) == {}


def test_a_mixed_field_counts_for_the_class_that_most_of_it_has():
    classes = np.array([1, 1, 2, 2, 2, 1])
    groups = np.array([7, 7, 7, 8, 8, 8])

    assert thin_classes(classes, groups, 2) == {1: 1, 2: 1}


def test_the_seed_chooses_the_folds():
    _, classes, groups = planted(num_fields=30)

    first = grouped_folds(classes, groups, 3, seed=0)

    assert np.array_equal(first, grouped_folds(classes, groups, 3, seed=0))
    assert not np.array_equal(first, grouped_folds(classes, groups, 3, seed=1))


def test_standardising_uses_the_reference_only_and_survives_a_constant_column():
    reference = np.array([[0.0, 5.0], [2.0, 5.0]], np.float32)

    (result,) = standardise(reference, np.array([[3.0, 6.0]], np.float32))

    assert result.tolist() == [[2.0, 1.0]]


def test_the_linear_probe_keeps_class_codes():
    train = np.array([[-1.0], [-1.1], [1.0], [1.1]])

    predicted = predict_linear(train, np.array([9120, 9120, 1200, 1200]), np.array([[-2.0], [2.0]]))

    assert predicted.tolist() == [9120, 1200]
