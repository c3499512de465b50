"""The page about two versions."""

import copy
import re

import pytest

from tessera_core.pages.comparison import render_comparison
from tests.unit.evaluate.planted import made_evaluation

GAIN = {
    "metric": "accuracy", "champion": 0.6, "challenger": 0.65, "gain": 0.05, "low": 0.01,
    "high": 0.09, "is_superior": True, "is_non_inferior": True,
    "regions": {"north": {"gain": 0.1}, "south": {"gain": -0.02}},
}  # fmt: skip


@pytest.fixture(scope="module")
def content():
    """What ``tessera compare`` gathers of two versions that differ in their seed."""
    evaluation = {**made_evaluation(), "diagnostics": {"rank_me": {"spectrum": [2.0, 1.0, 0.5]}}}
    models = {
        name: {"model_digest": digest * 32, "num_parameters": 1234}
        for name, digest in (("champion", "ab"), ("challenger", "cd"))
    }
    return {
        "names": ["tessera v1", "tessera v2"],
        "evaluations": [evaluation, copy.deepcopy(evaluation)],
        "comparison": {
            **models,
            "bridge": {"verdict": "bridgeable", "reason": "a map helps", "error": 0.27},
            "time_ratio": {"median": 1.0, "low": 0.9, "high": 1.1},
        },
        "changes": [{"what": "config", "name": "pretrain.seed", "old": "17", "new": "<18>"}],
        "decision": {
            "alias": "challenger", "reasons": ["better on none"],
            "numbers": {"num_resamples": 4000, "tasks": {"crop_type": GAIN}},
        },
        "groups": [],
        "explanation": None,
    }  # fmt: skip


@pytest.fixture(scope="module")
def page(content):
    return render_comparison(content)


def test_the_page_tells_what_changed_and_what_it_did(page):
    assert "pretrain.seed" in page
    assert "+5.0 points" in page
    assert "better on none" in page
    assert "bridgeable" in page


def test_a_region_that_falls_while_the_whole_gains_is_named(page):
    assert "crop_type gains overall, but falls in south (-2.0 points)" in page
    assert "north (" not in page


def test_curves_and_spectra_of_both_are_inside_the_page(page):
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r"(src|href)=.(https?:)?//", page)


def test_values_cannot_inject_markup(page):
    assert "&lt;18&gt;" in page


def test_versions_without_a_difference_say_so(content):
    assert "Nothing that the receipts know of" in render_comparison({**content, "changes": []})


def test_simulated_scenes_are_said_to_be(content):
    simulated = [{**one, "simulated": True} for one in content["evaluations"]]

    page = render_comparison({**content, "evaluations": simulated})

    assert "They say nothing about the science." in page


def test_the_gain_of_each_group_of_changes_is_shown_where_it_was_asked_for(content, page):
    explanation = {
        "tasks": {"crop_type": "accuracy"},
        "rows": [
            {"name": "tessera v1", "scores": {"crop_type": 0.5}, "gains": {}, "note": ""},
            {"name": "+ code", "scores": {}, "gains": {}, "note": "not trained: <lost>"},
            {"name": "+ data", "scores": {"crop_type": 0.53}, "gains": {"crop_type": 0.03},
             "note": ""},
        ],
        "findings": ["environment: torch 1 -> 2"],
    }  # fmt: skip

    explained = render_comparison({**content, "explanation": explanation})

    assert "Which change did it" not in page
    assert "Which change did it" in explained
    assert "+3.0 points" in explained
    assert "not trained: &lt;lost&gt;" in explained
    assert "torch 1 -&gt; 2" in explained
