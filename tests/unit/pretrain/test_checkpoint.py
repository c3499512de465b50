"""Checkpoints: whole or refused, the newest of two kept, never unpickled, bound to their run."""

import json
import os
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tessera_core.errors import ArtifactError, TrainingError
from tessera_core.pretrain.checkpoint import (
    KEEP,
    Best,
    CheckpointPolicy,
    Progress,
    differences,
    load_checkpoint,
    save_checkpoint,
    sole_owner,
)
from tessera_core.pretrain.ranks import Ranks, alone
from tessera_core.records.files import digest_file
from tessera_core.testing.disk import run_with_full_disk

HISTORY = [{"step": 0, "loss/total": 3.25}, {"step": 1, "loss/total": 2.5}]
IDENTITY = {"pretrain": {"seed": 3, "peak_lr": 0.1}, "shards": "5" * 64}


def policy(folder, identity=IDENTITY, **more):
    return CheckpointPolicy(folder=folder, identity=identity, **more)


def build(seed, width=3):
    """A network and its optimiser after one update, so that moments exist."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(5, 4, generator=generator)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def save(folder, step, *, seed=1, history=HISTORY, best=None, identity=IDENTITY, ranks=None):
    progress = Progress(next_step=step, history=list(history), best=best)
    save_checkpoint(policy(folder, identity), *build(seed), progress, ranks or alone())


def load(folder, seed=2, width=3, **more):
    return load_checkpoint(policy(folder, **more), *build(seed, width))


def flat_state(model, optimizer):
    """All tensors of both, in one list."""
    moments = [
        value for state in optimizer.state_dict()["state"].values() for value in state.values()
    ]
    return [*model.state_dict().values(), *moments]


def are_equal(one, other):
    pairs = zip(flat_state(*one), flat_state(*other), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def claim_anew(path):
    """Let the claim of a checkpoint agree with its bytes again."""
    claim = json.loads(path.with_suffix(".json").read_text())
    claim["sha256"] = digest_file(path, path.parent).sha256
    path.with_suffix(".json").write_text(json.dumps(claim))


@pytest.fixture
def saved(tmp_path) -> Path:
    """The newest checkpoint of a folder with those of steps 3 and 4."""
    save(tmp_path, 3, history=HISTORY[:1])
    save(tmp_path, 4)
    return tmp_path / "step-00000004.pt"


def test_weights_buffers_moments_step_and_history_come_back(saved):
    fresh = build(2)
    assert not are_equal(fresh, build(1))

    progress = load_checkpoint(policy(saved.parent), *fresh)

    assert (progress.next_step, progress.history, progress.best) == (4, HISTORY, None)
    assert are_equal(fresh, build(1))


def test_the_choice_so_far_comes_back_with_its_weights(tmp_path):
    weights = {"a.weight": torch.arange(3.0)}
    save(tmp_path, 4, best=Best(step=1, score=0.75, encoder=weights))

    best = load(tmp_path).best

    assert (best.step, best.score) == (1, 0.75)
    assert best.encoder.keys() == weights.keys()
    assert torch.equal(best.encoder["a.weight"], weights["a.weight"])


def test_saving_changes_neither_weights_nor_moments_nor_chance(tmp_path):
    trained = build(1)
    before = torch.random.get_rng_state()

    save_checkpoint(policy(tmp_path), *trained, Progress(next_step=1), alone())

    assert torch.equal(torch.random.get_rng_state(), before)
    assert are_equal(trained, build(1))


def test_an_empty_or_absent_folder_starts_at_step_0(tmp_path):
    fresh = build(2)

    for folder in (tmp_path, tmp_path / "absent"):
        assert load_checkpoint(policy(folder), *fresh) == Progress()
    assert are_equal(fresh, build(2))


def test_only_the_first_rank_writes(tmp_path):
    save(tmp_path / "run", 1, ranks=Ranks(rank=1, size=2, device=torch.device("cpu")))

    assert not (tmp_path / "run").exists()


def test_only_the_newest_checkpoints_are_kept(saved):
    for step in (10, 9999, 100_000):
        save(saved.parent, step)

    names = sorted(path.name for path in saved.parent.iterdir())

    assert KEEP == 2
    assert names == [
        "step-00009999.json", "step-00009999.pt", "step-00100000.json", "step-00100000.pt",
    ]  # fmt: skip


def test_the_newest_is_chosen_by_step_and_not_by_time_of_writing(saved):
    save(saved.parent, 2, seed=3, history=[])

    assert load(saved.parent).next_step == 4


def test_a_write_that_was_killed_leaves_a_part_that_is_ignored(saved):
    (saved.parent / f".step-00000005.pt.{'a' * 8}.part").write_bytes(saved.read_bytes()[:99])

    assert load(saved.parent).next_step == 4


def test_a_file_whose_claim_was_never_written_counts_for_nothing(saved):
    saved.with_name("step-00000005.pt").write_bytes(saved.read_bytes()[:99])

    assert load(saved.parent).next_step == 4


def test_the_claim_holds_digest_size_and_identity(saved):
    claim = json.loads(saved.with_suffix(".json").read_text())

    digest = digest_file(saved, saved.parent)
    assert claim == {"sha256": digest.sha256, "size": digest.size, "identity": IDENTITY}


@pytest.mark.parametrize("keep", [0, 1, 10, 0.5, 0.9, -1], ids=str)
def test_a_truncated_checkpoint_is_refused_with_the_way_out(saved, keep):
    content = saved.read_bytes()
    length = int(keep * len(content)) if isinstance(keep, float) else keep
    saved.write_bytes(content[:length])

    with pytest.raises(
        ArtifactError, match=r"cannot resume from .*step-00000004\.pt.*Delete the file and its"
    ):
        load(saved.parent)


def test_one_flipped_bit_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)

    with pytest.raises(ArtifactError, match=r"cannot resume from .*its content was changed"):
        load(saved.parent)


def test_a_checkpoint_whose_file_is_gone_is_refused(saved):
    saved.unlink()

    with pytest.raises(ArtifactError, match=r"cannot resume from .*step-00000004\.pt"):
        load(saved.parent)


@pytest.mark.parametrize("claim", ["", "[1]", "{}", '{"identity": 3, "sha256": 4}'])
def test_a_claim_that_is_none_is_refused(saved, claim):
    saved.with_suffix(".json").write_text(claim)

    with pytest.raises(ArtifactError, match=r"cannot resume from .*step-00000004\.pt"):
        load(saved.parent)


def test_after_deleting_a_truncated_checkpoint_and_its_claim_the_one_before_is_used(saved):
    saved.write_bytes(saved.read_bytes()[:100])
    saved.unlink()
    saved.with_suffix(".json").unlink()

    progress = load(saved.parent)

    assert (progress.next_step, progress.history) == (3, HISTORY[:1])


class TouchWhenUnpickled:
    """Leaves a file behind if anything ever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "writer", [partial(pickle.dump, protocol=2), torch.save], ids=["pickle", "torch"]
)
def test_a_checkpoint_that_would_run_code_is_refused_and_never_run(saved, tmp_path, writer):
    trap = TouchWhenUnpickled(tmp_path / "unpickled")
    with saved.open("wb") as file:
        writer({"model": trap}, file)
    claim_anew(saved)

    with pytest.raises(ArtifactError, match="cannot resume from"):
        load(saved.parent)

    assert not trap.path.exists()


@pytest.mark.parametrize("name", ["next_step", "model", "optimizer", "history", "best"])
def test_a_checkpoint_that_lacks_a_part_is_refused(saved, name):
    state = torch.load(saved, weights_only=True)
    torch.save({part: value for part, value in state.items() if part != name}, saved)
    claim_anew(saved)

    with pytest.raises(ArtifactError, match=rf"cannot resume from .*'{name}'"):
        load(saved.parent)


def test_a_checkpoint_of_another_shape_is_refused(saved):
    with pytest.raises(ArtifactError, match=r"(?s)cannot resume from .*size mismatch"):
        load(saved.parent, width=5)


@pytest.mark.parametrize(
    "content", [{"model": {}}, {}, [1, 2], 3], ids=["part", "empty", "list", "number"]
)
def test_a_file_that_holds_no_checkpoint_is_refused(saved, content):
    torch.save(content, saved)
    claim_anew(saved)

    with pytest.raises(ArtifactError, match="cannot resume from"):
        load(saved.parent)


OTHER = {"pretrain": {"seed": 3, "peak_lr": 0.2}, "shards": "6" * 64}


def test_a_checkpoint_of_another_run_is_refused_with_what_differs_and_how_to_accept_it(saved):
    with pytest.raises(ArtifactError) as refusal:
        load(saved.parent / "new", identity=OTHER, continue_from=saved.parent)

    assert "pretrain.peak_lr 0.1 -> 0.2, shards 555555555555... -> 666666666666..." in str(
        refusal.value
    )
    assert "--set 'pretrain.accept_changes=[peak_lr, shards]'" in str(refusal.value)


def test_an_empty_folder_goes_on_from_another_run_that_differs_only_in_what_is_accepted(saved):
    fresh = build(2)
    accepting = policy(
        saved.parent / "new",
        OTHER,
        continue_from=saved.parent,
        accept_changes=("peak_lr", "shards"),
    )

    progress = load_checkpoint(accepting, *fresh)

    assert progress.next_step == 4
    assert are_equal(fresh, build(1))


@pytest.mark.parametrize("accepted", [(), ("peak_lr",), ("shards", "seed")])
def test_another_run_that_differs_in_more_is_not_gone_on_from(saved, accepted):
    fresh = build(2)
    refusing = policy(
        saved.parent / "new", OTHER, continue_from=saved.parent, accept_changes=accepted
    )

    with pytest.raises(ArtifactError, match="that run was another in"):
        load_checkpoint(refusing, *fresh)

    assert are_equal(fresh, build(2))


def test_a_run_that_has_begun_goes_on_from_its_own_checkpoint(saved):
    save(saved.parent / "new", 9, identity=OTHER)

    progress = load(saved.parent / "new", identity=OTHER, continue_from=saved.parent)

    assert progress.next_step == 9


def test_what_was_accepted_once_is_not_accepted_of_a_runs_own_checkpoint(saved):
    with pytest.raises(ArtifactError, match=r"says that it is of another run: pretrain\.peak_lr"):
        load(
            saved.parent,
            identity=OTHER,
            continue_from=saved.parent,
            accept_changes=("peak_lr", "shards"),
        )


def test_a_folder_to_go_on_from_that_holds_nothing_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"pretrain\.continue_from names .*absent, which hol"):
        load(tmp_path / "new", continue_from=tmp_path / "absent")


def test_identities_are_compared_value_by_value_and_missing_values_differ():
    stored = {"pretrain": {"seed": 1, "same": 2}, "shards": "a", "code": "b"}
    wanted = {"pretrain": {"seed": 3, "same": 2, "new": 4}, "shards": "a", "code": "b"}

    assert differences(stored, stored) == {}
    assert differences(stored, wanted) == {"pretrain.seed": (1, 3), "pretrain.new": (None, 4)}


def test_a_folder_has_one_owner_at_a_time(tmp_path):
    with (
        sole_owner(tmp_path / "run"),
        pytest.raises(TrainingError, match=rf"another process .* held by process {os.getpid()};"),
        sole_owner(tmp_path / "run"),
    ):
        pytest.fail("two owners")

    with sole_owner(tmp_path / "run"):
        pass


def test_an_owner_clears_what_a_killed_write_left_and_nothing_else(saved):
    part = saved.parent / f".step-00000005.pt.{'a' * 8}.part"
    part.write_bytes(b"half")

    with sole_owner(saved.parent):
        assert not part.exists()
        assert load(saved.parent).next_step == 4


ON_A_FULL_DISK = """
import sys
from pathlib import Path
import torch
from torch import nn
from tessera_core.errors import StorageError
from tessera_core.pretrain.checkpoint import CheckpointPolicy, Progress, save_checkpoint
from tessera_core.pretrain.ranks import alone

network = nn.Linear(300, 300)
policy = CheckpointPolicy(folder=Path(sys.argv[1]), identity={})
try:
    save_checkpoint(
        policy, network, torch.optim.AdamW(network.parameters()), Progress(next_step=1), alone()
    )
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing(tmp_path):
    result = run_with_full_disk(ON_A_FULL_DISK, str(tmp_path), max_file_size=100_000)

    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.startswith(f"cannot write {tmp_path / 'step-00000001.pt'}: ")
    assert "make room" in result.stdout
    assert list(tmp_path.iterdir()) == []
