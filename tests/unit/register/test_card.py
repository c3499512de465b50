"""The model card: what a version is, with its numbers, its origin and its limits."""

from dataclasses import replace

import pytest

from tessera_core.register.card import render_card
from tessera_core.register.gate import Decision
from tests.unit.register.built import CODE

DECISION = Decision(alias="challenger", reasons=("crop accuracy fell", "height too"))


@pytest.fixture
def receipts(workshop):
    return workshop.train(seed=1), workshop.evaluate(accuracy=0.7125, other=None)


def card(receipts, decision=DECISION):
    return render_card("fields", "7", *receipts, decision)


def test_the_card_names_model_version_decision_and_every_reason(receipts):
    text = card(receipts)

    assert text.startswith("# fields version 7\n")
    assert "decision: **challenger**: crop accuracy fell; height too" in text


def test_the_card_gives_the_numbers_of_training_and_the_chain_behind_them(receipts):
    pretrain, evaluate = receipts

    text = card(receipts)

    assert "parameters: 12,345" in text
    assert "trained on 678 d-pixels for 9 steps" in text
    assert pretrain.facts["model_digest"] in text
    assert f"pretrain `{pretrain.digest}`, evaluate `{evaluate.digest}`" in text


def test_every_score_is_a_row_with_its_interval(receipts):
    text = card(receipts)

    assert "| crop_type | encoder/linear | accuracy | 0.713 | 0.693 to 0.733 |" in text
    assert "| crop_type | raw/linear | accuracy | 0.990 | 0.970 to 1.010 |" in text
    assert text.count("| crop_type |") == 2
    assert "canopy_height" not in text


def test_simulated_scores_carry_a_warning_and_real_ones_do_not(receipts):
    pretrain, evaluate = receipts
    real = replace(evaluate, facts={**evaluate.facts, "simulated": False})

    assert "**simulated** scenes: the numbers prove the machinery" in card(receipts)
    assert "simulated" not in card((pretrain, real))


def test_uncommitted_code_is_said_to_have_changed(receipts):
    pretrain, evaluate = receipts
    dirty = replace(pretrain, code=replace(CODE, dirty=True))

    assert f"commit `{CODE.commit}`\n" in card(receipts)
    assert f"commit `{CODE.commit}` (changed since)\n" in card((dirty, evaluate))


def test_limits_are_part_of_the_card(receipts):
    text = card(receipts)

    assert "no spatial context" in text
    assert "different versions must not be mixed" in text
