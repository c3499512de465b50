"""The stage starts its ranks itself, by torchrun, and hands on what the first of them says."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import yaml

from tessera_core.config import PlatformConfig
from tessera_core.domain.embedding import quantise
from tessera_core.errors import TrainingError
from tessera_core.model.artifact import load_artifact
from tessera_core.model.embed import embed_pixels
from tessera_core.ports import OFFLINE
from tessera_core.pretrain import stage
from tessera_core.pretrain.checkpoint import sole_owner
from tessera_core.pretrain.job import checkpoint_policy
from tessera_core.records.paths import Paths
from tessera_core.shuffle import stage as shuffle_stage
from tessera_core.stages import run_stage
from tessera_core.testing.pixels import random_pixels
from tessera_core.testing.tracker import InMemoryTracker
from tests.unit.chain import TINY_OVERRIDES, ingest_by_hand

PATIENCE_S = 90

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def configure(repo):
    """A function that reads the shipped settings, made tiny, with further overrides."""
    return lambda *overrides: PlatformConfig.read(repo / "params.yaml", TINY_OVERRIDES + overrides)


@pytest.fixture
def paths(configure, tmp_path) -> Paths:
    """A workspace in which ingest and shuffle have run."""
    paths = ingest_by_hand(tmp_path)
    shuffle_stage.run(configure(), paths, OFFLINE)
    return paths


@pytest.mark.parametrize("shard", ["false", "true"], ids=["ddp", "fsdp2"])
def test_two_ranks_leave_a_model_and_report_what_one_process_would(configure, paths, shard):
    tracker = InMemoryTracker()
    together = configure("pretrain.num_ranks=2", f"pretrain.shard={shard}")

    outcome = stage.run(together, paths, replace(OFFLINE, tracker=tracker))

    steps = [step for step, numbers in tracker.metrics if "loss/total" in numbers]
    assert steps == [1, 3, 5]
    assert all("speed/samples_per_second" in numbers for _, numbers in tracker.metrics)
    assert outcome.facts["num_steps"] == 6
    model = load_artifact(paths.model)
    codes = quantise(embed_pixels(model, random_pixels(20, seed=1), batch_size=8)).codes
    assert len(np.unique(codes)) > 20
    assert {path for path, _ in tracker.artifacts} == set(paths.training.glob("*.png"))


def test_what_the_first_rank_refuses_is_refused_by_the_stage_in_its_words(configure, paths):
    together = configure("pretrain.num_ranks=2")
    policy = checkpoint_policy(together, paths)

    with (
        sole_owner(policy.folder),
        pytest.raises(TrainingError, match="another process is training this very run"),
    ):
        stage.run(together, paths, OFFLINE)

    assert not paths.model.exists()
    assert not paths.training.exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_ranks_end_with_the_process_that_started_them(repo, paths, how):
    params = paths.root / "params.yaml"
    endless = PlatformConfig.read(
        repo / "params.yaml",
        (*TINY_OVERRIDES, "pretrain.num_ranks=2", "pretrain.num_steps=1000000"),
    )
    params.write_text(yaml.safe_dump(endless.to_dict()))
    # As its stage, so that pretrain finds a receipt to stand on.
    run_stage("shuffle", endless, paths, OFFLINE)
    parent = subprocess.Popen(
        [sys.executable, "-m", "tessera_core", "pretrain", "--root", str(paths.root)],
        env={**os.environ, "PYTHONPATH": str(repo), "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: list(paths.checkpoints.glob("*/step-*.json")))
        family = psutil.Process(parent.pid).children(recursive=True)

        parent.send_signal(how)

        parent.wait(PATIENCE_S)
        _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
        assert len(family) >= 3, "torchrun and two ranks"
        assert alive == []
    finally:
        parent.kill()
        parent.wait(PATIENCE_S)


def wait_until(condition):
    """Wait for what other processes do; fails where it takes too long."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
