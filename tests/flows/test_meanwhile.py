"""What runs beside the cycle ends with it, leaves no trace when it fails, and is never needed."""

import json
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flows.context import Context, load_context
from flows.services.meanwhile import (
    baselines_meanwhile,
    ensure_scenes,
    scenes_meanwhile,
)

SMALL = ("simulate.width=32", "simulate.height=32", "simulate.path=data/small")
DEFAULT = (*SMALL, "ingest.path=data/small")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def context(root: Path, own_environment: None) -> Context:
    """A run on scenes that it simulates itself."""
    return load_context(root, DEFAULT)


def test_scenes_that_are_made_meanwhile_are_those_that_are_waited_for(context: Context) -> None:
    catalogue = context.paths.root / "data" / "small" / "catalog.json"

    with scenes_meanwhile(context):
        ensure_scenes(context)
        first = catalogue.stat().st_mtime_ns
        ensure_scenes(context)

    assert json.loads(catalogue.read_bytes())["type"] == "Catalog"
    assert catalogue.stat().st_mtime_ns == first
    assert multiprocessing.active_children() == []


def test_a_block_that_fails_ends_what_runs_beside_it(context: Context) -> None:
    def begin() -> None:
        with scenes_meanwhile(context):
            assert len(multiprocessing.active_children()) == 1
            # The module's time limit ends this wait if no folder ever appears.
            while not list((context.paths.root / "data").glob(".simulate-*")):
                time.sleep(0.05)
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        begin()

    assert multiprocessing.active_children() == []
    left = {path.name for path in (context.paths.root / "data").iterdir()}
    assert left == {"benchmarks", ".scenes.lock"}


def test_nothing_is_started_for_scenes_from_elsewhere_or_without_a_training(
    context: Context,
) -> None:
    tiles = replace(context.config, ingest=replace(context.config.ingest, path="data/mine"))

    with scenes_meanwhile(replace(context, config=tiles)):
        assert multiprocessing.active_children() == []
    with baselines_meanwhile(context):  # there are no shards to train on
        assert multiprocessing.active_children() == []
