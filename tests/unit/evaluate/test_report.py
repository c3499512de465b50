import copy

import pytest

from tessera_core.pages.evaluation import headlines, render_report
from tests.unit.evaluate.planted import made_evaluation

DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def evaluation():
    return made_evaluation()


def difference(low, mean, high):
    return {"mean": mean, "low": low, "high": high}


def with_difference(evaluation, low, mean, high):
    content = copy.deepcopy(evaluation)
    report = content["tasks"]["crop_type"]
    report["differences"] = {
        "encoder/linear - raw/forest": {"accuracy": difference(low, mean, high)},
        "encoder/linear - raw/linear": {"accuracy": difference(-0.2, -0.1, -0.05)},
    }
    report["scores"] = {
        name: {"accuracy": difference(value - 0.1, value, value + 0.1)}
        for name, value in {
            "raw/forest": 0.6, "encoder/knn": 0.9, "raw/linear": 0.7, "encoder/linear": 0.6,
        }.items()
    }  # fmt: skip
    return headlines(content)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.01, 0.02, 0.03), "; above monthly band values, random forest (+2.0 points)."),
        ((-0.03, -0.02, -0.01), "; below monthly band values, random forest (-2.0 points)."),
        ((-0.01, 0.02, 0.05), "; no clear difference from monthly band values, random forest"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(evaluation, interval, verdict):
    sentences = with_difference(evaluation, *interval)

    assert verdict in sentences[0]
    assert (
        "accuracy 60.0 % (50.0 % to 70.0 %): below the best baseline, monthly band values, "
        "linear probe, 70.0 % (-10.0 points); "
    ) in sentences[0]


def test_a_page_without_any_score_says_that_nobody_knows_what_the_model_is_worth(evaluation):
    nothing = {"canopy_height": evaluation["tasks"]["canopy_height"]}

    assert "Unscored: no task" in render_report({**evaluation, "tasks": nothing}, {})
    assert "Unscored: no task" not in render_report(evaluation, {})


def test_a_skipped_task_is_named_with_its_reason(evaluation):
    page = render_report(evaluation, {})

    assert "Canopy height: no d-pixel has a label: there is no crop_type.tif" in page


def test_every_page_of_simulated_scenes_says_so(evaluation):
    warning = "They say nothing about the science."

    assert warning in render_report({**evaluation, "simulated": True}, {})
    assert warning not in render_report(evaluation, {})


def test_names_from_a_legend_cannot_inject_markup():
    page = render_report(made_evaluation(legend={1: "<script>alert(1)</script>"}), {})

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_shows_what_it_is_about(evaluation):
    page = render_report(evaluation, {"curve-crop_type": "QUJD"})

    assert DIGEST in page
    assert 'src="data:image/png;base64,QUJD"' in page
    row = '<th scope="row">'
    assert page.index(f"{row}trained encoder, linear probe") < page.index(
        f"{row}monthly band values, random forest"
    )
