"""Splits of benchmarks: by whatever rule, no group and no place is on both sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.benchmarks.splits import (
    Fold,
    linked,
    require_disjoint,
    split_units,
    transfer_folds,
    year_folds,
)
from tessera_core.errors import InputError, LeakageError
from tessera_core.records.benchmarks import Split, SplitRule

SEEDS = st.integers(0, 2**32 - 1)
RULES = st.sampled_from([SplitRule.FOLDS, SplitRule.SMALLEST_GROUPS, SplitRule.REGIONS])
NAMES = ("strata", "group", "position", "region", "given")


@st.composite
def units(draw):
    """Draw units of fields that cross regions, and places that several fields share."""
    rng = np.random.default_rng(draw(SEEDS))
    num_groups = draw(st.integers(8, 24))
    size = rng.integers(1, 6, num_groups)
    group = np.repeat(rng.permutation(num_groups) - 4, size)
    num = len(group)
    # Few shared places, or everything would be one.
    place = np.where(rng.random(num) < 0.1, rng.integers(0, 3, num), 10 + np.arange(num))
    region = np.array(["north", "south", "west", ""])[(group + (rng.random(num) < 0.1)) % 4]
    order = rng.permutation(num)
    return {
        "strata": (np.repeat(np.arange(num_groups) % 2, size))[order],
        "group": group[order],
        "position": place[order],
        "region": region[order],
        "given": np.full(num, ""),
    }


def split_or_none(drawn, rule, seed):
    """Return the folds, or None where the rule cannot split these units."""
    try:
        return split_units(Split(rule=rule), **drawn, num_folds=3, seed=seed)
    except LeakageError:
        raise
    except InputError:
        return None


@given(drawn=units(), rule=RULES, seed=SEEDS)
def test_no_group_and_no_place_is_on_both_sides(drawn, rule, seed):
    folds = split_or_none(drawn, rule, seed)

    for fold in folds or ():
        for name in ("group", "position"):
            assert not np.intersect1d(drawn[name][fold.train], drawn[name][fold.test]).size


@given(drawn=units(), rule=RULES, seed=SEEDS)
def test_every_unit_is_tested_at_most_once(drawn, rule, seed):
    folds = split_or_none(drawn, rule, seed)

    tested = np.concatenate([fold.test for fold in folds or ()] or [np.zeros(0, np.int64)])
    assert len(np.unique(tested)) == len(tested)
    if rule == SplitRule.FOLDS and folds:
        assert len(tested) == len(drawn["group"])


@given(drawn=units(), rule=RULES, seed=SEEDS)
def test_the_order_of_units_does_not_matter(drawn, rule, seed):
    order = np.random.default_rng(seed).permutation(len(drawn["group"]))
    moved = {name: values[order] for name, values in drawn.items()}

    folds, again = (split_or_none(each, rule, seed) for each in (drawn, moved))

    assert (folds is None) == (again is None)
    for fold, other in zip(folds or (), again or (), strict=True):
        assert np.array_equal(fold.train, np.sort(order[other.train]))
        assert np.array_equal(fold.test, np.sort(order[other.test]))


@given(drawn=units(), seed=SEEDS)
def test_transfer_over_regions_and_years_leaks_nothing(drawn, seed):
    together = linked(drawn["group"], drawn["position"])
    year = np.random.default_rng(seed).integers(2017, 2020, len(together))

    for name, folds in (
        (drawn["region"], transfer_folds(drawn["region"], together)),
        (year, year_folds(year, together)),
    ):
        if folds:
            require_disjoint(folds, drawn["group"], drawn["position"])
        for fold in folds:
            assert len(np.unique(name[fold.test])) == 1
            assert not np.intersect1d(name[fold.train], name[fold.test]).size


@given(drawn=units(), seed=SEEDS)
def test_a_leak_is_caught_wherever_it_is_planted(drawn, seed):
    folds = split_or_none(drawn, SplitRule.FOLDS, seed)
    if folds is None:
        return
    rng = np.random.default_rng(seed)
    number = int(rng.integers(len(folds)))
    leaked = rng.choice(folds[number].test)
    folds[number] = Fold(
        train=np.sort(np.append(folds[number].train, leaked)), test=folds[number].test
    )

    with pytest.raises(
        LeakageError,
        match=f"split {number + 1} of [0-9]+ has group number {drawn['group'][leaked]} on",
    ):
        require_disjoint(folds, drawn["group"], drawn["position"])


@given(drawn=units(), seed=SEEDS)
def test_a_given_split_is_followed_or_refused_but_never_mended(drawn, seed):
    rng = np.random.default_rng(seed)
    together = linked(drawn["group"], drawn["position"])
    clean = np.array(["train", "test", ""])[together % 3]
    torn = np.where(rng.random(len(clean)) < 0.5, "train", "test")

    for given_split in (clean, torn):
        asked = {**drawn, "given": given_split}
        leaks = any(
            np.intersect1d(ids[given_split == "train"], ids[given_split == "test"]).size
            for ids in (drawn["group"], drawn["position"])
        )
        try:
            (fold,) = split_units(
                Split(rule=SplitRule.GIVEN, column="split"), **asked, num_folds=3, seed=0
            )
        except LeakageError:
            assert leaks
        except InputError:
            assert not {"train", "test"} <= set(given_split)
        else:
            assert not leaks
            assert np.array_equal(fold.train, np.flatnonzero(given_split == "train"))
            assert np.array_equal(fold.test, np.flatnonzero(given_split == "test"))


@given(drawn=units())
def test_what_shares_a_group_or_a_place_is_linked_and_so_on(drawn):
    together = linked(drawn["group"], drawn["position"])

    for ids in (drawn["group"], drawn["position"]):
        for one in np.unique(ids):
            assert len(np.unique(together[ids == one])) == 1


def plain_units(group, **changes):
    group = np.asarray(group)
    num = len(group)
    return {
        "strata": np.zeros(num, np.int64),
        "group": group,
        "position": np.arange(num),
        "region": np.full(num, ""),
        "given": np.full(num, ""),
        **changes,
    }


def test_units_without_a_common_group_or_place_stay_apart():
    together = linked(np.array([3, 3, 5, 5, 9]), np.array([0, 1, 1, 2, 7]))

    assert len(set(together[:4])) == 1
    assert together[4] != together[0]


def test_the_smallest_fields_of_each_class_learn_up_to_the_share():
    group = np.repeat([1, 2, 3, 4, 11, 12], [1, 2, 3, 4, 6, 2])
    strata = np.where(group > 10, 7, 5)

    (fold,) = split_units(
        Split(rule=SplitRule.SMALLEST_GROUPS, train_share=0.3),
        **plain_units(group, strata=strata), num_folds=3, seed=0,
    )  # fmt: skip

    assert set(group[fold.train]) == {1, 2, 12}
    assert set(group[fold.test]) == {3, 4, 11}


def test_a_field_across_two_regions_trains_neither():
    region = np.array(["a", "a", "b", "b", "b"])
    group = np.array([1, 2, 2, 3, 4])

    first, second = transfer_folds(region, group)

    assert (first.train.tolist(), first.test.tolist()) == ([3, 4], [0, 1])
    assert (second.train.tolist(), second.test.tolist()) == ([0], [2, 3, 4])


@pytest.mark.parametrize(
    ("split", "changes", "message"),
    [
        (Split(), {"strata": np.array([1, 1, 1, 2])}, "class 2 has 1"),
        (Split(rule=SplitRule.REGIONS), {"region": np.full(4, "a")}, "two regions or more"),
        (
            Split(rule=SplitRule.GIVEN, column="split"),
            {"given": np.array(["train", "train", "", ""])},
            "leaves 2 units to learn from and 0 to be asked about",
        ),
        (
            Split(rule=SplitRule.GIVEN, column="split"),
            {"given": np.array(["train", "Test", "test", ""])},
            "says 'Test', expected train, test or nothing",
        ),
    ],
)
def test_what_cannot_be_split_is_said(split, changes, message):
    with pytest.raises(InputError) as refused:
        split_units(split, **plain_units([1, 2, 3, 4], **changes), num_folds=2, seed=0)

    assert message in str(refused.value)


def test_a_unit_asked_about_twice_is_refused():
    fold = Fold(train=np.array([0]), test=np.array([1]))

    with pytest.raises(LeakageError, match="asked about in two folds"):
        require_disjoint([fold, fold], np.arange(2), np.arange(2))
