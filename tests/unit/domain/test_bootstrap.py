"""Resampling of groups: in bounded memory, paired, and with percentiles for few groups."""

import numpy as np
import pytest

from tessera_core.domain import bootstrap
from tessera_core.domain.bootstrap import (
    count_blocks,
    estimate,
    estimate_difference,
    expanded_tail,
    interval,
    resample_counts,
    resampled_scores,
)
from tessera_core.domain.scores import Kind, scores, tally


@pytest.fixture
def sums():
    """Tallies of two models over 40 groups of three classes."""
    rng = np.random.default_rng(0)
    truth, first, second = rng.integers(0, 3, (3, 400))
    group = rng.integers(0, 40, 400)
    return {
        name: tally(Kind.CLASSIFICATION, truth, predicted, group, 40, 3)
        for name, predicted in (("first", first), ("second", np.where(group < 20, truth, second)))
    }


def test_every_resample_draws_as_many_groups_as_there_are():
    counts = resample_counts(17, 50, np.random.default_rng(0))

    assert counts.shape == (50, 17)
    np.testing.assert_array_equal(counts.sum(axis=1), 17)


def test_blocks_are_the_same_resamples_in_bounded_pieces(monkeypatch):
    whole = resample_counts(30, 100, np.random.default_rng(3))
    monkeypatch.setattr(bootstrap, "MAX_BLOCK", 30 * 7)

    blocks = list(count_blocks(30, 100, np.random.default_rng(3)))

    assert max(len(block) for block in blocks) == 7
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_groups_beyond_the_bound_come_one_resample_at_a_time(monkeypatch):
    monkeypatch.setattr(bootstrap, "MAX_BLOCK", 8)

    shapes = {block.shape for block in count_blocks(20, 5, np.random.default_rng(3))}

    assert shapes == {(1, 20)}


def test_resampled_scores_are_those_of_the_drawn_groups(sums):
    counts = resample_counts(40, 6, np.random.default_rng(1))

    found = resampled_scores(Kind.CLASSIFICATION, sums, [counts[:4], counts[4:]])

    for name, tallies in sums.items():
        drawn = [np.repeat(tallies, row.astype(int), axis=0).sum(axis=0) for row in counts]
        expected = [float(scores(Kind.CLASSIFICATION, one)["macro_f1"]) for one in drawn]
        np.testing.assert_allclose(found[name]["macro_f1"], expected)


def test_differences_are_paired_by_resample(sums):
    drawn = resampled_scores(
        Kind.CLASSIFICATION, sums, [resample_counts(40, 500, np.random.default_rng(1))]
    )
    pairs = {
        name: (scores(Kind.CLASSIFICATION, one.sum(axis=0)), drawn[name])
        for name, one in sums.items()
    }

    same = estimate_difference(pairs["first"], pairs["first"], num_groups=40)
    other = estimate_difference(pairs["second"], pairs["first"], num_groups=40)

    assert same["accuracy"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert other["accuracy"]["low"] > 0


def test_an_estimate_holds_its_number_and_few_groups_widen_it(sums):
    drawn = resampled_scores(
        Kind.CLASSIFICATION, sums, [resample_counts(40, 500, np.random.default_rng(1))]
    )["first"]
    point = scores(Kind.CLASSIFICATION, sums["first"].sum(axis=0))

    found = estimate(point, drawn, num_groups=40)["accuracy"]
    few = interval(found["mean"], drawn["accuracy"], num_groups=4)

    assert found["low"] < found["mean"] < found["high"]
    assert few.low < found["low"]
    assert few.high > found["high"]


def test_the_cut_off_share_tends_to_the_nominal_one():
    tails = [expanded_tail(0.025, num) for num in (1, 2, 5, 20, 300, 10**6)]

    assert tails == sorted(tails)
    assert tails[-1] == pytest.approx(0.025, rel=1e-3)
    assert tails[0] > 0
