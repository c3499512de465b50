import pytest

from tessera_core.evaluate.report import headlines, render_report
from tessera_core.evaluate.tasks.canopy_height import score_canopy_height
from tessera_core.evaluate.tasks.crop_type import score_crop_type
from tests.unit.evaluate.planted import SETTINGS, make_labelled, separable

DIGEST = "ab" * 32


def evaluation(*, is_simulated=False, legend=None):
    crops = make_labelled([1, 2] * 6)
    return {
        "simulated": is_simulated,
        "model_digest": DIGEST,
        "num_fields": 12,
        "num_pixels": len(crops),
        "labels_digest": "cd" * 32,
        "protocol": {
            "num_folds": 3, "num_bootstraps": 200, "num_trees": 10, "max_pixels_per_field": 4,
        },
        "tasks": {
            "crop_type": score_crop_type(crops, separable, legend or {}, SETTINGS).report,
            "canopy_height": score_canopy_height(make_labelled([]), separable, SETTINGS).report,
        },
    }  # fmt: skip


def difference(low, mean, high):
    return {"mean": mean, "low": low, "high": high}


def with_difference(low, mean, high):
    content = evaluation()
    comparison = {"accuracy": difference(low, mean, high)}
    content["tasks"]["crop_type"]["differences"] = {"encoder/linear - raw_forest": comparison}
    return headlines(content)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.01, 0.02, 0.03), "Better than random forest"),
        ((-0.03, -0.02, -0.01), "Worse than random forest"),
        ((-0.01, 0.02, 0.05), "No clear difference from random forest"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(interval, verdict):
    assert any(sentence.startswith(verdict) for sentence in with_difference(*interval))


def test_a_skipped_task_is_said_in_a_sentence():
    assert any(
        sentence.startswith("Canopy height was skipped: no d-pixel has a canopy height")
        for sentence in headlines(evaluation())
    )


def test_every_page_of_simulated_scenes_says_so():
    warning = "They say nothing about the science."

    assert warning in render_report(evaluation(is_simulated=True), {})
    assert warning not in render_report(evaluation(), {})


def test_names_from_a_legend_cannot_inject_markup():
    page = render_report(evaluation(legend={1: "<script>alert(1)</script>"}), {})

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_shows_what_it_is_about():
    page = render_report(evaluation(), {"curve": "QUJD"})

    assert DIGEST in page
    assert 'src="data:image/png;base64,QUJD"' in page
    assert page.index("trained encoder, linear probe") < page.index("random forest on monthly")
