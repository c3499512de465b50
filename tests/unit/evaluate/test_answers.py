"""Baselines that are kept and shared, models in processes, and the quick set of methods."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.adapters.mapper import processes
from tessera_core.domain.scores import Kind
from tessera_core.scoring.answers import Answering
from tessera_core.scoring.heads import forest
from tessera_core.scoring.methods import COMPARED, is_asked
from tessera_core.scoring.score import score_task
from tests.unit.evaluate.planted import (
    SETTINGS,
    make_benchmark,
    make_examples,
    separable,
    uninformative,
)

KINDS = (Kind.CLASSIFICATION, Kind.CHANGE, Kind.REGRESSION)


def score(kind=Kind.CLASSIFICATION, *, methods="full", seed=5, featurise=separable, **changes):
    truth = [1, 0] * 12 if kind != Kind.REGRESSION else np.linspace(0, 9, 24)
    chosen = replace(SETTINGS, methods=methods, seed=seed)
    return score_task(make_benchmark(kind), make_examples(truth), featurise, {}, chosen, **changes)


def same(one, other):
    assert one.report == other.report
    assert one.predictions.keys() == other.predictions.keys()
    for name, predicted in one.predictions.items():
        assert predicted.tobytes() == other.predictions[name].tobytes()


def fits_of(monkeypatch):
    """Return a list that grows by one with every forest that is fitted."""
    fitted = []
    settings_of = forest._forest_settings
    monkeypatch.setattr(
        forest, "_forest_settings", lambda num: fitted.append(num) or settings_of(num)
    )
    return fitted


# Each example fits two dozen models, which hypothesis would call too slow; six are enough.
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_a_method_scores_the_same_in_the_quick_and_the_full_set(kind, seed):
    quick, full = (score(kind, methods=each, seed=seed) for each in ("quick", "full"))

    for part in ("scores", "differences"):
        assert quick.report[part].keys() < full.report[part].keys()
        for name, found in quick.report[part].items():
            assert found == full.report[part][name]
    for name, predicted in quick.predictions.items():
        np.testing.assert_array_equal(predicted, full.predictions[name])
    for name, series in (quick.report["curve"] or {"series": {}})["series"].items():
        assert series == full.report["curve"]["series"][name]
    for region, found in quick.report["regions"].items():
        assert found.items() <= full.report["regions"][region].items()


@pytest.mark.parametrize("kind", KINDS)
def test_the_quick_set_holds_what_the_promotion_rule_asks(kind):
    head = "ridge" if kind == Kind.REGRESSION else "linear"

    scores = score(kind, methods="quick").report["scores"]

    assert set(scores) == {
        f"encoder/{head}", f"encoder_int8/{head}", f"random_encoder/{head}", f"raw/{head}",
        "raw/forest", "mean" if kind == Kind.REGRESSION else "majority",
    }  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_no_kind_of_task_loses_what_promotion_reads_to_the_quick_set(kind):
    own = COMPARED[kind]
    int8 = "encoder_int8/linear" if kind == Kind.SEGMENTATION else own.replace("/", "_int8/")
    constant = "mean" if kind == Kind.REGRESSION else "majority"

    for name in (own, int8, f"random_{own}", constant):
        assert is_asked(name, replace(SETTINGS, methods="quick"))


@pytest.mark.parametrize("kind", KINDS)
def test_shared_baselines_give_the_bytes_of_fitted_ones(kind, tmp_path, monkeypatch):
    fitted = score(kind)
    first = score(kind, answering=Answering(kept=tmp_path))
    fits = fits_of(monkeypatch)
    shared = score(kind, answering=Answering(kept=tmp_path))

    same(fitted, first)
    same(fitted, shared)
    assert fits == []


def test_answers_of_the_version_itself_are_not_kept(tmp_path):
    def other_encoder(examples):
        found, noise = separable(examples), uninformative(examples)
        own = {name: each for name, each in noise.items() if name.startswith("encoder")}
        return {**found, **own}

    score(answering=Answering(kept=tmp_path))
    kept = set(tmp_path.iterdir())
    shared = score(featurise=other_encoder, answering=Answering(kept=tmp_path))

    assert set(tmp_path.iterdir()) == kept
    same(shared, score(featurise=other_encoder))


@pytest.mark.parametrize("changes", [{"seed": 6}, {"featurise": uninformative}])
def test_other_questions_find_no_answer(changes, tmp_path, monkeypatch):
    score(answering=Answering(kept=tmp_path))
    fits = fits_of(monkeypatch)

    same(score(**changes, answering=Answering(kept=tmp_path)), score(**changes))

    assert fits


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_answer_is_fitted_again(damage, tmp_path):
    whole = score(answering=Answering(kept=tmp_path))
    contents = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path, content in contents.items():
        path.write_bytes(content[:-1] + b"?" if damage is None else damage)

    same(score(answering=Answering(kept=tmp_path)), whole)

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_models_in_processes_answer_the_same_bytes():
    with processes() as mapper:
        spread = [score(kind, answering=Answering(mapper=mapper)) for kind in KINDS]

    for kind, found in zip(KINDS, spread, strict=True):
        same(found, score(kind))
