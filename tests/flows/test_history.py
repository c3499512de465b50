"""What receipts tell of a registry: who serves, in whatever order their files are read."""

import shutil
from pathlib import Path

import pytest

from flows.services.registry_history import read_history, standings
from tests.flows.told import Told


@pytest.fixture(scope="module")
def trained(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Three scored models."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(repo / "params.yaml", folder / "params.yaml")
    told = Told(folder)
    for seed in (1, 2, 3):
        told.train(seed)
    return told


@pytest.fixture
def told(trained: Told, tmp_path: Path) -> Told:
    """The same in a checkout that a test may decide in."""
    copy = Told(shutil.copytree(trained.root, tmp_path / "checkout"))
    copy.scored = dict(trained.scored)
    return copy


FIRST = ("rule", 1, 1, "champion", 1, False)
ORDERS = {
    "the first serves": ([FIRST], {"champion": "1"}),
    "a challenger stands beside it": (
        [FIRST, ("rule", 2, 2, "challenger", 1, True)],
        {"champion": "1", "challenger": "2"},
    ),
    "the better one takes over": (
        [FIRST, ("rule", 2, 2, "champion", 2, True)],
        {"champion": "2"},
    ),
    "a person brings the older one back, and a later one only challenges": (
        [
            FIRST,
            ("rule", 2, 2, "champion", 2, True),
            ("person", 1, 1, 2),
            ("rule", 3, 3, "challenger", 1, True),
        ],
        {"champion": "1", "challenger": "3"},
    ),
    "a person prefers the challenger, and a later one takes over from it": (
        [
            FIRST,
            ("rule", 2, 2, "challenger", 1, True),
            ("person", 2, 2, 1),
            ("rule", 3, 3, "champion", 3, True),
        ],
        {"champion": "3"},
    ),
    "a person decides after a third came": (
        [
            FIRST,
            ("rule", 2, 2, "champion", 2, True),
            ("rule", 3, 3, "challenger", 2, True),
            ("person", 1, 1, 2),
        ],
        {"champion": "1", "challenger": "3"},
    ),
    "nobody has earned it yet": (
        [("rule", 1, 1, "challenger", None, False), ("rule", 2, 2, "challenger", None, False)],
        {"challenger": "2"},
    ),
    "the second is the first to earn it": (
        [("rule", 1, 1, "challenger", None, False), ("rule", 2, 2, "champion", 2, False)],
        {"champion": "2", "challenger": "1"},
    ),
    "nobody has earned it, so a person decides": (
        [
            ("rule", 1, 1, "challenger", None, False),
            ("person", 1, 1, None),
            ("rule", 1, 1, "champion", 1, False, "1"),
        ],
        {"champion": "1"},
    ),
    "people go back and forth": (
        [
            FIRST,
            ("rule", 2, 2, "challenger", 1, True),
            ("person", 2, 2, 1),
            ("person", 1, 1, 2),
        ],
        {"champion": "1"},
    ),
}


@pytest.mark.parametrize(("events", "expected"), ORDERS.values(), ids=ORDERS)
def test_the_last_decision_is_found_without_any_clock(told: Told, events, expected) -> None:
    for number, event in enumerate(events):
        if event[0] == "rule":
            _, version, seed, alias, champion, compared, *met = event
            served = None if champion is None else (champion, champion)
            told.decide(
                seed, version, alias, served, f"reason {number}", compared=compared, met=tuple(met)
            )
        else:
            _, version, seed, before = event
            told.override(seed, version, before, f"Ann {number}")

    [standing] = standings(read_history(told.paths(0)))

    assert standing.aliases == expected
    assert standing.is_certain


def test_reasons_and_overrides_are_those_of_the_last_word_on_each_version(told: Told) -> None:
    told.decide(1, 1, "champion", (1, 1), "first")
    told.decide(2, 2, "champion", (2, 2), "better", compared=True)
    digest = told.override(1, 1, 2, "Ann")

    [standing] = standings(read_history(told.paths(0)))

    assert standing.tags["2"] == {"tessera.reasons": "better"}
    assert standing.tags["1"] == {
        "tessera.reasons": "Ann decided: seams",
        "tessera.override": "Ann decided: seams",
        "tessera.receipt.override": digest,
    }


def test_decisions_that_cannot_follow_each_other_are_told_as_uncertain(told: Told) -> None:
    told.decide(1, 1, "champion", (1, 1), "first")
    told.override(2, 2, 3, "Ann")

    [standing] = standings(read_history(told.paths(0)))

    assert not standing.is_certain


def test_a_receipt_that_does_not_hash_to_its_name_is_not_believed(told: Told) -> None:
    told.decide(1, 1, "champion", (1, 1), "first")
    digest = told.decide(2, 2, "champion", (2, 2), "better", compared=True)
    for path in (
        told.paths(0).lineage / f"{digest}.json",
        told.paths(2).receipt("register"),
    ):
        path.write_bytes(path.read_bytes().replace(b"better", b"bitter"))

    history = read_history(told.paths(0))

    [standing] = standings(history)
    assert standing.aliases == {"champion": "1"}
    assert history.damaged == (
        f"data/lineage/{digest}.json",
        "data/runs/seed2/data/receipts/register.json",
    )
