"""When a challenger becomes champion: every sentence of the rule."""

import pytest

from tessera_core.register.config import RegisterConfig
from tessera_core.register.promotion import CHALLENGER, CHAMPION, Scores, decide
from tests.unit.register.built import scoring_facts


def rule(min_gain=0.0, max_height_loss=0.05):
    return RegisterConfig(model_name="t", min_gain=min_gain, max_height_loss=max_height_loss)


def scores(accuracy: float | None = 0.7, height: float | None = 0.5, labels="one"):
    return Scores(labels_digest=labels, accuracy=accuracy, height_r2=height)


def test_the_first_version_is_champion_whatever_its_scores():
    for first in (scores(0.01, -3.0), scores(None, None)):
        decision = decide(first, None, rule())

        assert decision.alias == CHAMPION
        assert decision.reasons == ("first version: there is no champion yet",)


def test_a_gain_makes_champion_and_the_reason_has_the_numbers():
    decision = decide(scores(0.731), scores(0.7), rule())

    assert decision.alias == CHAMPION
    assert (
        "crop accuracy 0.731 against the champion's 0.700: gain +0.031, at least the 0.000"
        in (decision.reasons[0])
    )


def test_a_loss_in_accuracy_stays_challenger():
    decision = decide(scores(0.699), scores(0.7), rule())

    assert decision.alias == CHALLENGER
    assert "gain -0.001, below the 0.000 asked" in decision.reasons[0]


@pytest.mark.parametrize(
    ("gain", "alias"), [(0.0625, CHAMPION), (0.0624, CHALLENGER), (0.07, CHAMPION)]
)
def test_the_asked_gain_is_a_floor_that_itself_suffices(gain, alias):
    assert decide(scores(0.5 + gain), scores(0.5), rule(min_gain=0.0625)).alias == alias


def test_without_an_asked_gain_an_equal_version_takes_over():
    assert decide(scores(0.7), scores(0.7), rule()).alias == CHAMPION


@pytest.mark.parametrize(
    ("height", "alias"), [(0.4375, CHAMPION), (0.43, CHALLENGER), (0.6, CHAMPION)]
)
def test_canopy_height_may_fall_as_far_as_allowed(height, alias):
    rule_with_margin = rule(max_height_loss=0.0625)

    assert decide(scores(0.8, height), scores(0.7, 0.5), rule_with_margin).alias == alias


def test_a_version_that_gains_in_crops_but_loses_height_says_both():
    decision = decide(scores(0.8, 0.2), scores(0.7, 0.5), rule())

    assert decision.alias == CHALLENGER
    assert "gain +0.100, at least" in decision.reasons[0]
    assert "R2 0.200 against 0.500: loss +0.300, beyond the 0.050 allowed" in decision.reasons[1]


def test_height_does_not_make_up_for_crops():
    assert decide(scores(0.6, 0.9), scores(0.7, 0.1), rule()).alias == CHALLENGER


@pytest.mark.parametrize(("mine", "theirs"), [(None, 0.5), (0.5, None), (None, None)])
def test_height_counts_only_where_both_have_it(mine, theirs):
    decision = decide(scores(0.8, mine), scores(0.7, theirs), rule())

    assert decision.alias == CHAMPION
    assert len(decision.reasons) == 1


def test_scores_on_other_labels_do_not_compare():
    decision = decide(scores(0.99, labels="two"), scores(0.1, labels="one"), rule())

    assert decision.alias == CHALLENGER
    assert decision.reasons == (
        "scored on other labels than the champion, so the two cannot be compared",
    )


@pytest.mark.parametrize(
    ("mine", "theirs", "who"), [(None, 0.7, "this version"), (0.7, None, "the champion")]
)
def test_a_missing_crop_score_does_not_compare(mine, theirs, who):
    decision = decide(scores(mine), scores(theirs), rule())

    assert decision.alias == CHALLENGER
    assert decision.reasons == (f"{who} has no crop score, so the two cannot be compared",)


def test_scores_are_read_from_the_probes_on_the_encoder_and_no_other_model():
    found = Scores.from_facts(scoring_facts(accuracy=0.71, height=0.42, labels="d1"))

    assert found == Scores(labels_digest="d1", accuracy=0.71, height_r2=0.42)


def test_a_skipped_task_has_no_score():
    found = Scores.from_facts(scoring_facts(accuracy=None, height=None))

    assert (found.accuracy, found.height_r2) == (None, None)
