"""``tessera recall`` and ``tessera gc`` on a small history."""

import json

import pytest

from tests.unit.lineage.recall.history import History, scene_id, two_tiles

WEST, EAST = two_tiles()


@pytest.fixture
def history(root, repo) -> History:
    made = History(root=root, repo=repo)
    made.prepare([WEST, EAST])
    made.train("one")
    made.release("1")
    return made


def test_recall_prints_a_table_and_keeps_its_record(tessera, history):
    code, said, _ = tessera("recall", scene_id(WEST, 0))

    assert code == 0
    assert "(tessera/1) by training" in said
    (record,) = history.root.glob("data/recalls/*/recall.json")
    assert str(record) in said


def test_recall_prints_json_for_programs(tessera, history):
    code, said, _ = tessera("recall", "N0400", "--json")

    assert code == 0
    assert json.loads(said)["subject"] == {"kind": "baseline", "name": "04.00"}


def test_an_unknown_name_is_bad_input(tessera, history):
    code, _, complaint = tessera("recall", "wesd")

    assert code == 2
    assert "Did you mean 'west'?" in complaint


def test_gc_lists_and_only_deletes_when_told(tessera, history):
    cache = history.paths.feed_cache / "abc"
    cache.mkdir(parents=True)

    code, said, _ = tessera("gc", "--dry-run")
    assert code == 0
    assert "data/cache/abc" in said
    assert cache.is_dir()

    code, _, _ = tessera("gc", "--delete")
    assert code == 0
    assert not cache.exists()
    assert history.paths.exports.is_dir()
