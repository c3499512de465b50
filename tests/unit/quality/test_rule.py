"""Rules as data: what they refuse to be, and what their failures say."""

import pytest

from tessera_core.errors import ConfigError
from tessera_core.quality.expectations import rules
from tessera_core.quality.rule import Rule, RuleResult, failures
from tests.unit.quality.planted import limits


def rule(**changes) -> Rule:
    values = {
        "name": "a_rule",
        "table": "tile",
        "column": "some_number",
        "minimum": 1,
        "meaning": "number of somethings",
        "next_step": "do something",
    }
    return Rule(**{**values, **changes})


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"minimum": 8, "maximum": None}, "8 or more"),
        ({"minimum": None, "maximum": 0.01}, "0.01 or less"),
        ({"minimum": 1, "maximum": 12_000}, "1 to 12000"),
        ({"minimum": 0, "maximum": 0}, "0"),
        ({"minimum": None, "allowed": (True,)}, "yes"),
        ({"minimum": None, "allowed": (1, 2)}, "1 or 2"),
    ],
)
def test_a_rule_says_what_it_expects(limits, expected):
    assert rule(**limits).expected == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": "tyle"}, "rule a_rule: table is 'tyle', expected"),
        ({"minimum": None}, "either a range or a set"),
        ({"allowed": (True,)}, "either a range or a set"),
        ({"minimum": 2, "maximum": 1}, "minimum 2 is above maximum 1"),
        ({"bands": ("VV",)}, "only the band table has bands"),
    ],
)
def test_a_rule_that_cannot_be_judged_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        rule(**changes)


def test_every_rule_has_a_name_of_its_own_and_tells_the_next_step():
    declared = rules(limits())

    assert len({each.name for each in declared}) == len(declared)
    assert all(each.meaning and each.next_step for each in declared)
    assert all(not each.next_step.endswith(".") for each in declared)


@pytest.mark.parametrize(
    ("name", "setting", "bound"),
    [
        ("has_clear_observations", "min_clear_median", "minimum"),
        ("few_pixels_without_clear", "max_share_without_clear", "maximum"),
        ("no_long_gap", "max_date_gap_days", "maximum"),
        ("few_duplicates", "max_duplicate_share", "maximum"),
    ],
)
def test_each_limit_of_the_settings_reaches_its_rule_and_is_named_by_it(name, setting, bound):
    value = 1

    found = next(each for each in rules(limits(**{setting: value})) if each.name == name)

    assert getattr(found, bound) == value
    assert f"quality.{setting}" in found.next_step


TABLES = {
    "tile": {
        "tile": ["a", "b"],
        "year": [2018, 2018],
        "longest_gap_days": [10, 200],
        "longest_gap_start": [5, 100],
    },
    "band": {
        "tile": ["a"] * 4,
        "year": [2018] * 4,
        "sensor": ["s2"] * 4,
        "band": ["B04", "B02", "B03", "B08"],
        "median": [1, 30_000, 30_001, 0.25],
    },
    "row": {
        "tile": ["a", "b", "b"],
        "year": [2018, 2018, 2018],
        "row": [0, 3, 4],
        "column": [0, 7, 8],
        "is_on_grid": [True, False, False],
    },
}


def test_a_failure_reads_as_tile_rule_expected_seen_next_step():
    result = RuleResult(
        rule=rule(name="no_gap", column="longest_gap_days", minimum=None, maximum=120),
        num_checked=2,
        failed_rows=(1,),
    )

    (failure,) = failures([result], TABLES)

    assert str(failure) == (
        "tile b, 2018: no_gap (number of somethings): expected 120 or less, "
        "seen 200 from day 100 to 299; do something"
    )


def test_bands_that_break_a_rule_are_named_until_they_are_many():
    median = rule(table="band", column="median", minimum=None, maximum=0)
    some = RuleResult(rule=median, num_checked=4, failed_rows=(0, 1))
    all_four = RuleResult(rule=median, num_checked=4, failed_rows=(0, 1, 2, 3))

    seen = [failures([result], TABLES)[0].seen for result in (some, all_four)]

    assert seen == [
        "1 in S2 B04, 30000 in S2 B02",
        "1 in S2 B04, 30000 in S2 B02, 30001 in S2 B03 and 1 more",
    ]


def test_pixels_that_break_a_rule_are_counted_and_the_first_is_placed():
    on_grid = rule(table="row", column="is_on_grid", minimum=None, allowed=(True,))
    result = RuleResult(rule=on_grid, num_checked=3, failed_rows=(1, 2))

    (failure,) = failures([result], TABLES)

    assert failure.seen == "no at row 3, column 7 (2 of 2 sampled d-pixels)"


def test_failures_stand_in_the_order_of_tiles_then_rules():
    gap = rule(name="gap", column="longest_gap_days", minimum=None, maximum=1)
    median = rule(name="median", table="band", column="median", minimum=None, maximum=0)
    results = [
        RuleResult(rule=gap, num_checked=2, failed_rows=(0, 1)),
        RuleResult(rule=median, num_checked=4, failed_rows=(0,)),
    ]

    found = failures(results, TABLES)

    assert [(each.tile, each.rule) for each in found] == [
        ("a", "gap"),
        ("a", "median"),
        ("b", "gap"),
    ]


def test_nothing_failed_gives_no_failure():
    assert failures([RuleResult(rule=rule(), num_checked=2, failed_rows=())], TABLES) == ()
