"""How an encoder stands: whatever the scores, the best baseline is named first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.records.standing import describe_standing, report_standing, standings
from tessera_core.records.words import model_label

BASELINES = ("majority", "random_encoder/linear", "raw/forest", "raw/linear")


def about(value, width=0.02):
    return {"mean": value, "low": value - width, "high": value + width}


def stand(scores, metric="accuracy"):
    """Say how a linear probe that scores 0.5 stands beside such baselines."""
    own = {"encoder/linear": about(0.5), "encoder_int8/linear": about(0.99)}
    told = {name: about(0.5 - value) for name, value in scores.items()}
    values = {name: about(value) for name, value in scores.items()}
    return describe_standing(metric, "encoder/linear", own | values, told)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_the_best_baseline_is_named_first_with_its_score(values):
    scores = dict(zip(BASELINES, values, strict=True))
    best = max(sorted(scores), key=scores.__getitem__)

    sentence = stand(scores)

    assert f"the best baseline, {model_label(best)}, {100 * scores[best]:.1f} %" in sentence
    named = {name: sentence.find(model_label(name)) for name in BASELINES}
    assert min(named, key=named.__getitem__) == best
    assert -1 not in named.values()


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.6, ": below the"), (0.5, ": no clear difference from the"), (0.4, ": above the")],
)
def test_a_verdict_on_the_best_baseline_needs_an_interval_without_zero(value, verdict):
    sentence = stand({"raw/linear": value, "majority": 0.1})

    assert f"{verdict} best baseline, monthly band values" in sentence


def test_of_an_error_the_smallest_is_best_and_below_zero_is_better():
    sentence = stand({"raw/ridge": 0.7, "mean": 0.9}, metric="global_rmse")

    assert sentence.startswith("RMSE over all d-pixels 0.50 (0.48 to 0.52): above the best ")
    assert "the best baseline, monthly band values, ridge regression, 0.70 (-0.20)" in sentence


def test_its_own_codes_and_other_heads_are_no_baselines():
    assert "99.0 %" not in stand({"majority": 0.2})
    assert "int8" not in stand({"majority": 0.2})


def test_without_baselines_that_is_said():
    assert stand({}) == "accuracy 50.0 % (48.0 % to 52.0 %); no baseline was asked"


def test_a_receipt_of_earlier_code_names_the_best_baseline_without_a_verdict():
    scores = {"encoder/linear": 0.5, "majority": 0.6, "raw/forest": 0.4}
    headline = {model: {"accuracy": about(score)} for model, score in scores.items()}
    facts = {
        "headline": {"crop_type": headline, "height": {}},
        "compared": {"crop_type": "encoder/linear", "height": "encoder/ridge"},
    }

    assert standings(facts) == {
        "crop_type": "accuracy 50.0 % (48.0 % to 52.0 %); the best baseline is "
        "most frequent class, 60.0 %"
    }


def test_receipt_and_evaluation_give_the_same_sentence():
    from tessera_core.evaluate.job import facts_of
    from tests.unit.evaluate.planted import made_evaluation

    evaluation = made_evaluation()

    told = standings(facts_of(evaluation))

    assert told == {"crop_type": report_standing(evaluation["tasks"]["crop_type"])}
    assert "the best baseline" in told["crop_type"]


def test_a_baseline_that_was_asked_alone_is_not_called_the_best():
    told = stand({"majority": 0.1})

    assert "above the only baseline that was asked, most frequent class, 10.0 %" in told
    assert "best" not in told
