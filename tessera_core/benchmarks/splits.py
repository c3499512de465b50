"""Who learns and who is asked: splits that never cut a field, a block or a place.

The same ground in two years, or in two tiles that overlap, is one place. Units that share a group
or a place are linked, and what is linked goes to one side. Every split is checked before use.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError, LeakageError
from tessera_core.pretrain.probe import grouped_folds
from tessera_core.records.benchmarks import Split, SplitRule

Ints = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]

TRAIN: Final = "train"
TEST: Final = "test"
NEITHER: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """One way to divide units."""

    train: Ints
    """Units to learn from, ascending."""

    test: Ints
    """Units to be asked about, ascending."""


def linked(group: Ints, position: Ints) -> Ints:
    """Return one number per unit, (U,), equal for units that share a group or a place.

    Sharing is passed on: if a field covers a place, and another field the same place in another
    year, both fields are one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, of_group = np.unique(group, return_inverse=True)
    _, of_place = np.unique(position, return_inverse=True)
    num_groups = int(of_group.max(initial=-1)) + 1
    size = num_groups + int(of_place.max(initial=-1)) + 1
    edges = (np.ones(len(group), np.int8), (of_group, num_groups + of_place))
    _, component = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    found: Ints = component[of_group].astype(np.int64)
    return found


def split_units(
    split: Split,
    strata: Ints,
    group: Ints,
    position: Ints,
    region: Names,
    given: Names,
    *,
    num_folds: int,
    seed: int,
) -> list[Fold]:
    """Return the folds of a rule; all arrays are (U,).

    Args:
        split: The rule.
        strata: Class of each unit, so that folds hold all classes; equal where there are none.
        group: What goes whole to one side.
        position: The same for the same place.
        region: Name of the region.
        given: ``train``, ``test`` or empty, as the labels say.
        num_folds: For the rule ``folds``.
        seed: Chooses the order of dealing.

    Raises:
        InputError: A class has fewer groups than folds, a region is alone, one side is empty, or
            what is given is not a side.
        LeakageError: A given split has a group or a place on both sides.
    """
    together = linked(group, position)
    if split.rule == SplitRule.FOLDS:
        fold = grouped_folds(strata, together, num_folds, seed)
        folds = [_fold(fold != number, fold == number) for number in range(num_folds)]
    elif split.rule == SplitRule.SMALLEST_GROUPS:
        trains = _smallest(strata, together, split.train_share)
        folds = [_fold(trains, ~trains)]
    elif split.rule == SplitRule.REGIONS:
        folds = transfer_folds(region, together)
    else:
        folds = [_given(given)]
    for one in folds:
        if not len(one.train) or not len(one.test):
            raise InputError(
                f"the split {split.rule} leaves {len(one.train)} units to learn from and "
                f"{len(one.test)} to be asked about; label more groups or choose another rule"
            )
    if not folds:
        raise InputError(f"the split {split.rule} needs two regions or more; all units lie in one")
    require_disjoint(folds, group, position)
    return folds


def require_disjoint(folds: Sequence[Fold], group: Ints, position: Ints) -> None:
    """Refuse folds with a group or a place on both sides, or a unit that is asked about twice.

    Raises:
        LeakageError: Names what is on both sides.
    """
    for number, fold in enumerate(folds):
        for what, ids in (("group", group), ("place", position)):
            both = np.intersect1d(ids[fold.train], ids[fold.test])
            if len(both):
                raise LeakageError(
                    f"split {number + 1} of {len(folds)} has {what} number {both[0]} on both "
                    f"sides ({len(both)} in all): its score would be that of a copy. "
                    "Groups and places must go whole to one side"
                )
    tested = np.concatenate([fold.test for fold in folds])
    if len(np.unique(tested)) != len(tested):
        raise LeakageError("a unit is asked about in two folds; each may be tested once")


def transfer_folds(region: Names, group: Ints) -> list[Fold]:
    """Return one fold per region, learnt in all others; a group across regions only tests."""
    return list(_leave_one_out(region, group))


def year_folds(year: npt.NDArray[np.integer[Any]], group: Ints) -> list[Fold]:
    """Return one fold per year: learnt in the other years, from other groups.

    Every second group is for learning, so that a field which is there in all years is on one side.
    """
    _, number = np.unique(group, return_inverse=True)
    learns = number % 2 == 0
    years = np.unique(year)
    if len(years) < 2:
        return []
    folds = [_fold((year != one) & learns, (year == one) & ~learns) for one in years]
    return [fold for fold in folds if len(fold.train) and len(fold.test)]


def _leave_one_out(region: Names, group: Ints) -> Iterator[Fold]:
    names = np.unique(region[region != ""])
    if len(names) < 2:
        return
    taken = np.zeros(len(region), bool)
    for name in names:
        test = (region == name) & ~taken
        shared = np.isin(group, group[test])
        fold = _fold(~shared, test)
        if len(fold.train) and len(fold.test):
            taken |= test
            yield fold


def _given(given: Names) -> Fold:
    """Return the sides that the labels give; a misspelt one would silently be on neither."""
    if len(unknown := np.setdiff1d(given, [TRAIN, TEST, NEITHER])):
        raise InputError(
            f"a given split says {str(unknown[0])!r}, expected {TRAIN}, {TEST} or nothing; write "
            "nothing for units that are on neither side, such as those of a validation set"
        )
    return _fold(given == TRAIN, given == TEST)


def _smallest(strata: Ints, group: Ints, share: float) -> npt.NDArray[np.bool_]:
    """Return which units learn: the smallest groups of each class, up to a share of its units."""
    groups, number = np.unique(group, return_inverse=True)
    size = np.bincount(number)
    classes, of_class = np.unique(strata, return_inverse=True)
    votes = np.bincount(number * len(classes) + of_class, minlength=len(groups) * len(classes))
    of_group = votes.reshape(len(groups), len(classes)).argmax(axis=1)
    learns = np.zeros(len(groups), bool)
    for one in range(len(classes)):
        members = np.flatnonzero(of_group == one)
        order = members[np.argsort(size[members], kind="stable")]
        area = np.cumsum(size[order])
        wanted = share * area[-1] if len(area) else 0
        # The group that reaches the share still learns, but never the last one of its class.
        reached = np.searchsorted(area, wanted) + 1
        learns[order[: min(reached, len(order) - 1)]] = True
    return learns[number]


def _fold(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Fold:
    return Fold(train=np.flatnonzero(train), test=np.flatnonzero(test))
