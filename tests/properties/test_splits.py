"""Folds: whatever the fields and classes, nothing leaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.errors import InputError
from tessera_core.pretrain.probe import fields_per_class, grouped_folds, thin_classes

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def labelled_fields(draw, *, is_pure=False):
    """Draw (classes, groups, number of folds), with each class in enough fields."""
    num_folds = draw(st.integers(2, 5))
    sizes = draw(st.lists(st.integers(num_folds, 9), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(SEEDS))
    class_of_field = np.repeat(np.arange(len(sizes)) * 7 + 3, sizes)
    num_pixels = rng.integers(3, 6, len(class_of_field))
    groups = np.repeat(rng.permutation(len(class_of_field)) - 5, num_pixels)
    classes = np.repeat(class_of_field, num_pixels)
    if not is_pure:
        # One foreign pixel in some fields: too few to change what a field mostly is.
        first = np.cumsum(num_pixels) - num_pixels
        mixed = first[rng.random(len(first)) < 0.3]
        classes[mixed] = rng.choice(class_of_field, len(mixed))
    order = rng.permutation(len(classes))
    return classes[order], groups[order], num_folds


@given(fields=labelled_fields(), seed=SEEDS)
def test_no_field_is_on_two_sides(fields, seed):
    classes, groups, num_folds = fields

    folds = grouped_folds(classes, groups, num_folds, seed)

    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1


@given(fields=labelled_fields(), seed=SEEDS)
def test_every_pixel_is_in_exactly_one_fold_and_every_fold_is_filled(fields, seed):
    classes, groups, num_folds = fields

    folds = grouped_folds(classes, groups, num_folds, seed)

    assert folds.shape == classes.shape
    assert np.array_equal(np.unique(folds), np.arange(num_folds))


@given(fields=labelled_fields(is_pure=True), seed=SEEDS)
def test_the_fields_of_each_class_are_spread_evenly(fields, seed):
    classes, groups, num_folds = fields

    folds = grouped_folds(classes, groups, num_folds, seed)

    for code in np.unique(classes):
        fields_of_class = np.unique(groups[classes == code])
        fold_of_field = [folds[groups == group][0] for group in fields_of_class]
        counts = np.bincount(fold_of_field, minlength=num_folds)
        assert counts.max() - counts.min() <= 1


@given(fields=labelled_fields(), seed=SEEDS)
def test_folds_do_not_depend_on_the_order_of_pixels(fields, seed):
    classes, groups, num_folds = fields
    order = np.random.default_rng(seed).permutation(len(classes))

    folds = grouped_folds(classes, groups, num_folds, seed)
    reordered = grouped_folds(classes[order], groups[order], num_folds, seed)

    assert np.array_equal(folds[order], reordered)


@given(fields=labelled_fields(), seed=SEEDS)
def test_a_class_with_too_few_fields_is_named_and_refused(fields, seed):
    classes, groups, num_folds = fields
    classes = np.append(classes, [99, 99])
    groups = np.append(groups, [1000, 1000])

    thin = thin_classes(classes, groups, num_folds)

    assert thin == {99: 1}
    assert fields_per_class(classes, groups)[99] == 1
    with pytest.raises(InputError, match="class 99 has 1; leave these classes out"):
        grouped_folds(classes, groups, num_folds, seed)
