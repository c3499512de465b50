"""Golden numbers are compared on platforms that have some, recorded on demand, else skipped."""

import json

import pytest

from tests.golden.recorded import platform_class, recall


def test_a_platform_without_numbers_is_skipped_with_the_reason(tmp_path):
    path = tmp_path / "loss.json"
    path.write_text('{"abacus, torch 0.1": [1]}')

    with pytest.raises(pytest.skip.Exception, match=r"has nothing for .*only for abacus, torch"):
        recall(path, [2], bless=False)


def test_blessing_records_this_platform_and_keeps_the_others(tmp_path):
    path = tmp_path / "loss.json"
    path.write_text('{"abacus, torch 0.1": [1]}')

    recalled = recall(path, [2.5], bless=True)

    assert recalled == [2.5]
    assert json.loads(path.read_text()) == {"abacus, torch 0.1": [1], platform_class(): [2.5]}


def test_without_blessing_the_record_wins_over_what_was_found(tmp_path):
    path = tmp_path / "loss.json"
    recall(path, [2.5], bless=True)

    assert recall(path, [3.5], bless=False) == [2.5]
