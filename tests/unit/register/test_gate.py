"""The promotion rule, one reason at a time."""

import json

import numpy as np
import pytest

from tessera_core.domain.scores import Kind, tally
from tessera_core.errors import ConfigError, InputError
from tessera_core.register.config import RegisterConfig
from tessera_core.register.gate import (
    CHALLENGER,
    CHAMPION,
    Evidence,
    decide,
    describe_override,
    limited_loss,
)
from tessera_core.register.paired import TaskEvidence

RULE = RegisterConfig(
    model_name="tessera", max_region_loss=0.1, max_int8_loss=0.01, max_time_ratio=2.0,
    max_size_ratio=2.0,
)  # fmt: skip
SIZE = 20


def crops(old, new, **changes):
    """A task of two classes: pixels of each field, (G,), that either version has right of 20."""
    counts = [np.zeros((len(old), 2, 2)) for _ in range(2)]
    crop = np.arange(len(old)) % 2
    for count, right in zip(counts, (old, new), strict=True):
        count[np.arange(len(old)), crop, crop] = right
        count[np.arange(len(old)), crop, 1 - crop] = SIZE - np.asarray(right)
    values = {
        "name": "crops", "kind": Kind.CLASSIFICATION, "metric": "accuracy", "margin": 0.02,
        "champion": counts[0], "challenger": counts[1], "region": np.full(len(old), ""),
    }  # fmt: skip
    return TaskEvidence(**{**values, **changes})


def heights(error_before, error_after, metric="global_rmse", num_groups=40, **changes):
    """A task of values whose errors are so large, in metres."""
    rng = np.random.default_rng(4)
    truth, group = rng.normal(15, 6, num_groups * 5), np.arange(num_groups).repeat(5)
    noise = rng.normal(0, 1, len(truth))
    old, new = (
        tally(Kind.REGRESSION, truth, truth + size * noise, group, num_groups, 0)
        for size in (error_before, error_after)
    )
    values = {
        "name": "heights", "kind": Kind.REGRESSION, "metric": metric, "margin": 0.2,
        "champion": old, "challenger": new, "region": np.full(num_groups, ""),
    }  # fmt: skip
    return TaskEvidence(**{**values, **changes})


@pytest.fixture
def old():
    """Right pixels of 60 fields under the champion."""
    return np.random.default_rng(2).integers(8, 17, 60)


@pytest.fixture
def better(old):
    """Crops, a fifth of the pixels of every field better."""
    return crops(old, old + 4)


def evidence(*tasks, **changes):
    """Everything green, and int8 codes that lose nothing."""
    values = {
        "tasks": tasks, "int8_loss": {task.name: 0.0 for task in tasks}, "time_ratio": 1.0,
        "size_ratio": 1.0, "canaries_pass": True, "quality_passed": True, "audit_passed": True,
    }  # fmt: skip
    return Evidence(**{**values, **changes})


def ask(*tasks, **changes):
    return decide(evidence(*tasks, **changes), RULE, has_champion=True)


def test_a_version_that_is_better_takes_over_and_says_by_how_much(better):
    decision = ask(better)

    assert decision.alias == CHAMPION
    assert len(decision.reasons) == 1
    assert "gain +0.200 [+0.200, +0.200] over 60 groups: better" in decision.reasons[0]


def test_a_version_that_answers_alike_stays_challenger(old):
    decision = ask(crops(old, old))

    assert decision.alias == CHALLENGER
    assert decision.reasons[0].startswith("better on none of 1 tasks")
    assert decision.reasons[1].endswith("no worse")


def test_a_gain_that_may_be_chance_does_not_promote(old):
    noise = np.random.default_rng(3).integers(-3, 4, len(old))

    decision = ask(crops(old, old + noise, margin=0.2))

    assert decision.alias == CHALLENGER
    assert not decision.numbers["tasks"]["crops"]["is_superior"]


def test_the_level_is_shared_out_over_tasks(better, old):
    alone, among_five = ask(better), ask(*(crops(old, old, name=f"task_{n}") for n in range(5)))

    assert alone.numbers["level_per_task"] == 0.04
    assert among_five.numbers["level_per_task"] == 0.008


def test_a_loss_beyond_the_margin_holds_back_what_gains_elsewhere(better, old):
    decision = ask(better, crops(old, old - 1, name="burned"))

    assert decision.alias == CHALLENGER
    assert decision.reasons[0] == (
        "burned may be worse by 0.050 in accuracy, more than the 0.020 allowed"
    )


def test_a_loss_within_the_margin_does_not(better, old):
    decision = ask(better, crops(old, old - 1, name="burned", margin=0.06))

    assert decision.alias == CHAMPION
    assert decision.numbers["tasks"]["burned"]["is_non_inferior"]
    assert decision.numbers["tasks"]["burned"]["gain"] == -0.05


def test_of_an_error_less_is_better():
    assert ask(heights(3.0, 2.0)).alias == CHAMPION
    assert "gain +1.0" in ask(heights(3.0, 2.0)).reasons[0]
    assert "may be worse" in ask(heights(2.0, 3.0)).reasons[0]


@pytest.mark.parametrize("metric", ["r2", "mae", "per_chip_rmse"])
def test_every_metric_of_values_can_decide(metric):
    assert ask(heights(3.0, 1.0, metric=metric)).alias == CHAMPION


def test_a_region_that_falls_too_far_holds_a_gain_back(old):
    region = np.where(np.arange(60) < 20, "south", "north")
    gain = np.where(region == "south", -3, 4)

    decision = ask(crops(old, old + gain, region=region))

    assert decision.alias == CHALLENGER
    assert decision.numbers["tasks"]["crops"]["is_superior"]
    assert decision.reasons[0] == (
        "crops falls by 0.150 in region south, more than the 0.100 allowed, and hardly by chance"
    )


def test_a_region_of_few_groups_holds_nothing_back(old):
    region = np.where(np.arange(60) < 11, "south", "north")

    decision = ask(crops(old, old + np.where(region == "south", -3, 4), region=region))

    assert decision.alias == CHAMPION
    assert set(decision.numbers["tasks"]["crops"]["regions"]) == {"north"}


def test_a_fall_of_a_region_that_may_be_chance_holds_nothing_back(old):
    """Three of its 14 fields are lost altogether, the others answered as before."""
    field = np.arange(60)
    new = np.where(field < 3, 0, np.where(field < 14, old, old + 4))

    decision = ask(crops(old, new, region=np.where(field < 14, "south", "north")))

    south = decision.numbers["tasks"]["crops"]["regions"]["south"]
    assert decision.alias == CHAMPION
    assert south["loss"] > RULE.max_region_loss
    assert not south["has_fallen"]


def test_a_rise_of_an_error_in_a_region_counts_as_a_share_of_what_it_was():
    half = np.arange(80) < 40
    one = heights(3.0, 2.0, num_groups=80)
    worse = np.where(half[:, None], one.champion, one.challenger)
    better = np.where(half[:, None], one.challenger, one.champion)
    region = np.where(half, "south", "north")

    decision = ask(heights(3.0, 2.0, num_groups=80, champion=better, challenger=worse,
                           region=region, margin=5.0))  # fmt: skip

    assert decision.numbers["tasks"]["heights"]["regions"]["south"]["loss"] == pytest.approx(0.5)
    assert "in region south" in decision.reasons[0]
    assert "as a share of the champion's" in decision.reasons[0]
    assert limited_loss("r2", 0.6, 0.5) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"int8_loss": {"crops": 0.02}}, "int8 codes lose 0.020 on crops, more than the 0.010"),
        ({"int8_loss": {}}, "int8 codes were not scored on crops"),
        ({"time_ratio": 2.5}, "the time per d-pixel is 2.50 times the champion's"),
        ({"time_ratio": None}, "the time per d-pixel was not measured"),
        ({"size_ratio": 3.0}, "the number of parameters is 3.00 times the champion's"),
        ({"size_ratio": None}, "the number of parameters was not measured"),
        ({"canaries_pass": False}, "its canaries failed"),
        ({"canaries_pass": None}, "its canaries were not checked"),
        ({"quality_passed": False}, "the quality gate of its samples failed"),
        ({"audit_passed": None}, "the audit of its chain was not checked"),
        ({"missing": {"height": "the champion has no score"}}, "height cannot be compared: the"),
    ],
)
def test_what_is_red_or_was_not_measured_is_the_first_reason(better, changes, reason):
    decision = ask(better, **changes)

    assert decision.alias == CHALLENGER
    assert decision.reasons[0].startswith(reason)


def test_too_few_groups_cannot_decide_however_clear_they_seem(old):
    decision = ask(crops(old[:11], old[:11] + 4))

    assert decision.alias == CHALLENGER
    assert decision.reasons[0] == (
        "crops cannot be compared: it has 11 groups, and resampling needs 12"
    )


def test_without_any_common_task_nothing_can_be_compared():
    decision = ask()

    assert decision.alias == CHALLENGER
    assert "no task was asked of both" in decision.reasons[0]


def first(task=None, **changes):
    """Decide about a version that has no champion to beat."""
    bare = {"int8_loss": {}, "time_ratio": None, "size_ratio": None}
    baselines = {} if task is None else {task["untrained"].name: task}
    return decide(evidence(**{**bare, "baselines": baselines, **changes}), RULE, has_champion=False)


def against(old, *, untrained, constant, **changes):
    """A task of crops on which a version gains so many pixels a field on either baseline."""
    new = old + 2
    return {
        "untrained": crops(new - untrained, new, **changes),
        "constant": crops(new - constant, new, **changes),
    }


def test_a_first_version_serves_when_it_beats_both_baselines_on_a_task(old):
    decision = first(against(old, untrained=4, constant=6))

    assert decision.alias == CHAMPION
    assert decision.reasons[0] == "first version: there is no champion yet"
    assert decision.reasons[1].startswith("crops beats the untrained encoder: accuracy 0.7")
    assert "crops beats the most frequent class" in decision.reasons[2]
    assert decision.numbers["unscored"] is False
    assert decision.numbers["baselines"]["crops"]["untrained"]["gain"] == 0.2


@pytest.mark.parametrize(
    ("untrained", "constant", "reason"),
    [
        (4, -1, "crops loses to the most frequent class: accuracy"),
        (-1, 4, "crops loses to the untrained encoder: accuracy"),
        (0, 4, "it beats the untrained encoder and the answer without any encoder on no task"),
        (4, 0, "it beats the untrained encoder and the answer without any encoder on no task"),
    ],
)
def test_one_that_beats_only_one_of_them_stays_challenger(old, untrained, constant, reason):
    decision = first(against(old, untrained=untrained, constant=constant))

    assert decision.alias == CHALLENGER
    assert decision.reasons[0].startswith(reason)
    assert any("overrule this with `tessera promote`" in each for each in decision.reasons)


def test_beating_either_on_a_task_of_its_own_is_not_enough(old):
    baselines = {
        "burned": against(old, untrained=4, constant=0, name="burned"),
        "crops": against(old, untrained=0, constant=4),
    }

    decision = first(baselines=baselines)

    assert decision.alias == CHALLENGER
    assert "on no task, of 2 that can tell, at the level of 0.020 each" in decision.reasons[0]


def test_a_loss_on_one_task_holds_back_what_is_earned_on_another(old):
    baselines = {
        "burned": against(old, untrained=4, constant=-1, name="burned"),
        "crops": against(old, untrained=4, constant=4),
    }

    decision = first(baselines=baselines)

    assert decision.alias == CHALLENGER
    assert decision.reasons[0].startswith("burned loses to the most frequent class")


def test_a_first_version_of_values_is_set_against_the_mean_and_less_error_is_better():
    pair = {"untrained": heights(3.0, 2.0), "constant": heights(6.0, 2.0)}

    decision = first(pair)

    assert decision.alias == CHAMPION
    assert any("heights beats the mean: global_rmse" in each for each in decision.reasons)


def test_too_few_groups_earn_nothing_and_leave_no_version_unscored(old):
    decision = first(against(old[:11], untrained=4, constant=6))

    assert decision.alias == CHALLENGER
    assert decision.reasons[0].startswith("it beats the untrained encoder and")
    assert decision.reasons[-1] == ("crops cannot tell: it has 11 groups, and resampling needs 12")
    assert decision.numbers["unscored"] is False


def test_a_version_that_nothing_could_score_serves_unscored_when_its_own_checks_are_green():
    green, red = first(), first(canaries_pass=False)

    assert green.alias == CHAMPION
    assert green.reasons[1].startswith("unscored: no task could be scored for want of labels")
    assert green.numbers["unscored"] is True
    assert red.alias == CHALLENGER
    assert red.reasons[0] == "its canaries failed"


def test_numbers_are_plain_json_and_the_same_every_time(better, old):
    tasks = (better, crops(old, old - 1, name="burned"), heights(2.0, 2.0))

    once, again = ask(*tasks), ask(*reversed(tasks))

    assert once == again
    assert json.loads(json.dumps(once.numbers, allow_nan=False)) == once.numbers
    assert set(once.numbers["tasks"]) == {"burned", "crops", "heights"}


def test_many_groups_are_resampled_in_blocks():
    right = np.random.default_rng(1).integers(8, 17, 3000)

    assert ask(crops(right, right + 1)).alias == CHAMPION


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": -0.1}, "the margin is -0.1, expected 0 or more"),
        ({"margin": float("nan")}, "the margin is nan, expected 0 or more"),
        ({"region": np.full(3, "")}, "for 3 groups; expected equal groups"),
        ({"metric": "acuracy"}, "acuracy is not a metric"),
        ({"metric": "r2"}, "r2 is no metric of classification"),
    ],
)
def test_evidence_that_makes_no_sense_is_refused(old, changes, message):
    with pytest.raises((ConfigError, InputError), match=f"task crops: .*{message}"):
        crops(old, old, **changes)


def test_a_person_who_overrides_is_named_with_a_reason():
    decision = describe_override(CHAMPION, " Ann ", "seams in version 2")

    assert decision.alias == CHAMPION
    assert decision.reasons == ("Ann decided: seams in version 2",)


@pytest.mark.parametrize(("by", "reason"), [("", "seams"), ("Ann", " ")])
def test_an_override_without_name_or_reason_is_refused(by, reason):
    with pytest.raises(InputError, match=r"needs a name .* and a reason"):
        describe_override(CHAMPION, by, reason)
