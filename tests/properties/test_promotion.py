"""What holds of every promotion decision."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tessera_core.register.config import RegisterConfig
from tessera_core.register.promotion import CHALLENGER, CHAMPION, Scores, decide

ACCURACY = st.floats(0, 1)
MAYBE_ACCURACY = st.none() | ACCURACY
R2 = st.floats(-10, 1)
MARGIN = st.floats(0, 0.5)


def scores(labels="same", accuracy=MAYBE_ACCURACY):
    return st.builds(
        Scores, labels_digest=st.just(labels), accuracy=accuracy, height_r2=st.none() | R2
    )


def rules(min_gain=MARGIN):
    return st.builds(
        RegisterConfig, model_name=st.just("t"), min_gain=min_gain, max_height_loss=MARGIN
    )


def wins(challenger, champion, rule):
    return decide(challenger, champion, rule).alias == CHAMPION


@given(
    champion=scores(accuracy=st.floats(0, 1, exclude_max=True)),
    rule=rules(min_gain=st.just(0.0)),
    data=st.data(),
)
def test_a_challenger_better_on_all_metrics_never_loses(champion, rule, data):
    better = st.floats(champion.accuracy, 1, exclude_min=True)
    taller = st.none() if champion.height_r2 is None else st.floats(champion.height_r2, 1)
    challenger = replace(champion, accuracy=data.draw(better), height_r2=data.draw(taller))

    assert decide(challenger, champion, rule).alias == CHAMPION


@given(champion=scores(accuracy=st.floats(0, 1, exclude_min=True)), rule=rules(), data=st.data())
def test_a_challenger_worse_in_crops_never_wins(champion, rule, data):
    worse = data.draw(st.floats(0, champion.accuracy, exclude_max=True))
    challenger = replace(data.draw(scores()), accuracy=worse)

    assert decide(challenger, champion, rule).alias == CHALLENGER


@given(champion=scores(), challenger=scores(), rule=rules())
def test_the_decision_is_pure_and_always_has_reasons(champion, challenger, rule):
    decision = decide(challenger, champion, rule)

    assert decision == decide(challenger, champion, rule)
    assert decision.alias in (CHAMPION, CHALLENGER)
    assert all(decision.reasons)
    assert decision.reasons


@given(challenger=scores(), rule=rules())
def test_the_first_version_always_serves(challenger, rule):
    assert decide(challenger, None, rule).alias == CHAMPION


@given(champion=scores(), challenger=scores(labels="other"), rule=rules())
def test_scores_on_other_labels_never_promote(champion, challenger, rule):
    assert decide(challenger, champion, rule).alias == CHALLENGER


@given(
    champion=scores(accuracy=ACCURACY),
    challenger=scores(accuracy=ACCURACY),
    rule=rules(),
    raised=ACCURACY,
)
def test_more_accuracy_never_turns_a_champion_into_a_challenger(champion, challenger, rule, raised):
    low, high = sorted([challenger.accuracy, raised])

    lower = wins(replace(challenger, accuracy=low), champion, rule)
    higher = wins(replace(challenger, accuracy=high), champion, rule)

    assert higher >= lower


@given(
    champion=scores(accuracy=ACCURACY),
    challenger=scores(accuracy=ACCURACY),
    rule=rules(),
    other=MARGIN,
)
def test_asking_for_less_gain_never_turns_a_champion_into_a_challenger(
    champion, challenger, rule, other
):
    less, more = sorted([rule.min_gain, other])

    easier = wins(challenger, champion, replace(rule, min_gain=less))
    harder = wins(challenger, champion, replace(rule, min_gain=more))

    assert easier >= harder
