"""Checkpoints: whole or refused, the newest of two kept, never unpickled."""

import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tessera_core.errors import ArtifactError
from tessera_core.pretrain.checkpoint import KEEP, load_checkpoint, save_checkpoint

HISTORY = [{"step": 0, "loss/total": 3.25}, {"step": 1, "loss/total": 2.5}]


def build(seed, width=3):
    """A network and its optimiser after one update, so that moments exist."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(5, 4, generator=generator)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def flat_state(model, optimizer):
    """All tensors of both, in one list."""
    moments = [
        value for state in optimizer.state_dict()["state"].values() for value in state.values()
    ]
    return [*model.state_dict().values(), *moments]


def are_equal(one, other):
    pairs = zip(flat_state(*one), flat_state(*other), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.fixture
def saved(tmp_path) -> Path:
    """A folder with checkpoints of steps 3 and 4, and the path of the newest."""
    trained = build(1)
    save_checkpoint(tmp_path, 3, *trained, HISTORY[:1])
    return save_checkpoint(tmp_path, 4, *trained, HISTORY)


def test_weights_buffers_moments_step_and_history_come_back(saved):
    fresh = build(2)
    assert not are_equal(fresh, build(1))

    step, history = load_checkpoint(saved.parent, *fresh)

    assert (step, history) == (4, HISTORY)
    assert are_equal(fresh, build(1))


def test_an_empty_or_absent_folder_starts_at_step_0(tmp_path):
    fresh = build(2)

    assert load_checkpoint(tmp_path, *fresh) == (0, [])
    assert load_checkpoint(tmp_path / "absent", *fresh) == (0, [])
    assert are_equal(fresh, build(2))


def test_only_the_newest_checkpoints_are_kept(saved):
    for step in (10, 9999, 100_000):
        save_checkpoint(saved.parent, step, *build(1), HISTORY)

    names = sorted(path.name for path in saved.parent.iterdir())

    assert KEEP == 2
    assert names == ["step-00009999.pt", "step-00100000.pt"]


def test_the_newest_is_chosen_by_step_and_not_by_time_of_writing(saved):
    save_checkpoint(saved.parent, 2, *build(3), [])

    assert load_checkpoint(saved.parent, *build(2))[0] == 4


def test_a_write_that_was_killed_leaves_a_part_that_is_ignored(saved):
    (saved.parent / f".step-00000005.pt.{'a' * 8}.part").write_bytes(saved.read_bytes()[:99])

    assert load_checkpoint(saved.parent, *build(2))[0] == 4


@pytest.mark.parametrize("keep", [0, 1, 10, 0.5, 0.9, -1], ids=str)
def test_a_truncated_checkpoint_is_refused_with_the_way_out(saved, keep):
    content = saved.read_bytes()
    length = int(keep * len(content)) if isinstance(keep, float) else keep
    saved.write_bytes(content[:length])

    with pytest.raises(ArtifactError, match=r"cannot resume from .*step-00000004\.pt.*Delete"):
        load_checkpoint(saved.parent, *build(2))


def test_after_deleting_a_truncated_checkpoint_the_one_before_is_used(saved):
    saved.write_bytes(saved.read_bytes()[:100])
    saved.unlink()

    assert load_checkpoint(saved.parent, *build(2)) == (3, HISTORY[:1])


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

    with pytest.raises(ArtifactError, match="cannot resume from"):
        load_checkpoint(saved.parent, *build(2))

    assert not trap.path.exists()


def test_a_checkpoint_without_its_step_is_refused(saved):
    state = torch.load(saved, weights_only=True)
    torch.save({name: value for name, value in state.items() if name != "next_step"}, saved)

    with pytest.raises(ArtifactError, match=r"cannot resume from .*'next_step'"):
        load_checkpoint(saved.parent, *build(2))


def test_a_checkpoint_of_another_shape_is_refused(saved):
    with pytest.raises(ArtifactError, match=r"(?s)cannot resume from .*size mismatch"):
        load_checkpoint(saved.parent, *build(2, width=5))


@pytest.mark.parametrize(
    "content", [{"model": {}}, {}, [1, 2], 3], ids=["part", "empty", "list", "number"]
)
def test_a_file_that_holds_no_checkpoint_is_refused(saved, content):
    torch.save(content, saved)

    with pytest.raises(ArtifactError, match="cannot resume from"):
        load_checkpoint(saved.parent, *build(2))
