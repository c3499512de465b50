"""A run in another workspace takes over what has been made of the very same inputs."""

from pathlib import Path

import pytest
import torch

from tessera_core.config import PlatformConfig
from tessera_core.errors import RecordError
from tessera_core.ports import OFFLINE
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.stages import outputs_intact, run_stage, take_over_upstream
from tests.unit.chain import TINY_OVERRIDES, ingest_by_hand

DATA_STAGES = ("ingest", "quality", "shuffle")


@pytest.fixture(autouse=True)
def _one_thread(_strict_torch: None) -> None:
    """Compute on one thread: a second costs more than it gives to networks this small."""
    torch.set_num_threads(1)


@pytest.fixture
def configure(repo):
    """A function that reads the shipped settings, made tiny, with further overrides."""
    return lambda *overrides: PlatformConfig.read(repo / "params.yaml", TINY_OVERRIDES + overrides)


@pytest.fixture
def root(tmp_path, configure) -> Paths:
    """A checkout in which shuffle has run."""
    paths = ingest_by_hand(tmp_path)
    run_stage("shuffle", configure(), paths, OFFLINE)
    return paths


@pytest.fixture
def other(root) -> Paths:
    """A workspace with the receipts that are written by hand in the checkout, and samples."""
    return Paths(root=root.root, workspace=root.root / "data" / "runs" / "other")


@pytest.fixture
def filled(root, other) -> Paths:
    """The other workspace, standing on the same ingest and quality."""
    for stage in ("ingest", "quality"):
        other.receipt(stage).parent.mkdir(parents=True, exist_ok=True)
        other.receipt(stage).write_bytes(root.receipt(stage).read_bytes())
    other.samples.symlink_to(root.samples)
    return other


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_inputs_share_outputs_and_receipt(configure, root, filled):
    result = run_stage("shuffle", configure("pretrain.seed=2"), filled, OFFLINE, [root])

    assert result.reused
    assert filled.receipt("shuffle").read_bytes() == root.receipt("shuffle").read_bytes()
    assert (filled.shards / "manifest.json").samefile(root.shards / "manifest.json")
    assert outputs_intact(result.receipt, filled)


def test_other_settings_of_the_stage_run_it(configure, root, filled):
    result = run_stage("shuffle", configure("shuffle.seed=2"), filled, OFFLINE, [root])

    assert not result.reused
    assert result.receipt.digest != Receipt.read(root.receipt("shuffle")).digest


def test_without_a_lender_nothing_is_shared(configure, root, filled):
    result = run_stage("shuffle", configure(), filled, OFFLINE)

    assert not result.reused
    assert not (filled.shards / "manifest.json").samefile(root.shards / "manifest.json")


def test_what_is_made_again_after_sharing_leaves_the_lender_as_it_was(configure, root, filled):
    run_stage("shuffle", configure(), filled, OFFLINE, [root])
    before = bytes_of(root.shards)

    run_stage("shuffle", configure("shuffle.seed=2"), filled, OFFLINE, [root])

    assert bytes_of(root.shards) == before
    assert bytes_of(filled.shards) != before
    assert outputs_intact(Receipt.read(root.receipt("shuffle")), root)


def test_damaged_outputs_are_not_taken_over(configure, root, filled):
    victim = next(root.shards.glob("train-*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1])

    result = run_stage("shuffle", configure(), filled, OFFLINE, [root])

    assert not result.reused
    assert outputs_intact(result.receipt, filled)


def test_a_lender_without_its_files_has_nothing_to_lend(configure, root, filled):
    next(root.shards.glob("train-*.parquet")).unlink()

    assert not run_stage("shuffle", configure(), filled, OFFLINE, [root]).reused


def test_the_first_lender_that_fits_is_taken(configure, root, filled):
    other_data = Paths(root=root.root, workspace=root.root / "data" / "runs" / "third")

    assert run_stage("shuffle", configure(), filled, OFFLINE, [other_data, root]).reused


def test_a_model_is_shared_with_its_history(configure, root, filled):
    run_stage("pretrain", configure(), root, OFFLINE)
    run_stage("shuffle", configure(), filled, OFFLINE, [root])

    result = run_stage("pretrain", configure("evaluate.num_trees=5"), filled, OFFLINE, [root])

    assert result.reused
    assert bytes_of(filled.model) == bytes_of(root.model)
    history = filled.training / "history.json"
    assert history.read_bytes() == (root.training / "history.json").read_bytes()
    assert not filled.checkpoints.exists()


def test_what_a_stage_stands_on_stops_at_the_first_thing_nobody_has(configure, root, other):
    root.receipt("ingest").unlink()

    take_over_upstream("pretrain", configure(), other, [root])

    assert not other.data.exists()
    with pytest.raises(RecordError, match="run `tessera shuffle` first"):
        run_stage("pretrain", configure(), other, OFFLINE, [root])


def test_what_a_stage_stands_on_is_taken_over_in_order(configure, root, filled):
    take_over_upstream("pretrain", configure("pretrain.seed=3"), filled, [root])

    assert filled.receipt("shuffle").read_bytes() == root.receipt("shuffle").read_bytes()
    assert not filled.receipt("pretrain").exists()
