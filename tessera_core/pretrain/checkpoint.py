"""Checkpoints: written whole, verified by digest, never unpickled, bound to what made them.

``step-00000100.pt`` holds all state after 100 steps in one form, whatever the number of ranks;
``step-00000100.json``, written last, holds its digest and the run's identity. A file without its
JSON is the remainder of a write that was cut off, and counts for nothing.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, Final

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)

from tessera_core.errors import ArtifactError, RecordError, TrainingError
from tessera_core.pretrain.ranks import Ranks
from tessera_core.records.files import (
    atomic_file,
    digest_file,
    read_json,
    storage_errors,
    write_json,
)

KEEP: Final = 2
"""Older checkpoints are removed."""

MAX_RELATIVES: Final = 3
"""More unfinished runs than this are not worth telling of."""

WHOLE: Final = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""State as one process would have it, gathered on rank 0."""

History = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The encoder that the probe liked best so far."""

    step: int
    """After which step."""

    score: float
    """What the probe said."""

    encoder: Mapping[str, Tensor]
    """Its weights, on the CPU."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a run carries from step to step, besides weights and moments."""

    next_step: int = 0
    """First step that is not done yet."""

    history: History = field(default_factory=list)
    """One record per logged step."""

    best: Best | None = None
    """What selection would hand out now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """Where a run's checkpoints are, and what it may go on from."""

    folder: Path
    """Belongs to this run's identity alone."""

    identity: Mapping[str, Any]
    """Everything that decides the weights, as plain JSON values."""

    continue_from: Path | None = None
    """Another run's folder, to start from where this one's is empty."""

    accept_changes: Sequence[str] = ()
    """Names in which that run's identity may differ."""


def save_checkpoint(
    policy: CheckpointPolicy,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    ranks: Ranks,
) -> None:
    """Write the state after a step and remove old ones; all ranks call it, rank 0 writes."""
    model, moments = get_state_dict(network, optimizer, options=WHOLE)
    if not ranks.is_first:
        return
    state = {
        "next_step": progress.next_step,
        "model": model,
        "optimizer": moments,
        "history": progress.history,
        "best": None if progress.best is None else _plain(progress.best),
    }
    path = policy.folder / f"step-{progress.next_step:08d}.pt"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Its claim comes off first: until the new one is on, this step has no checkpoint.
        path.with_suffix(".json").unlink(missing_ok=True)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        _write_state(state, file)
    digest = digest_file(path, policy.folder)
    claim = {"sha256": digest.sha256, "size": digest.size, "identity": dict(policy.identity)}
    write_json(path.with_suffix(".json"), claim)
    _remove_old(policy.folder)


def load_checkpoint(
    policy: CheckpointPolicy, network: nn.Module, optimizer: torch.optim.Optimizer
) -> Progress:
    """Restore the newest checkpoint of this run, else of the one it continues, else nothing.

    Raises:
        ArtifactError: The newest checkpoint is damaged or does not fit, or it is another run's
            and differs in more than was accepted.
    """
    newest = resume_point(policy)
    if newest is None:
        return Progress()
    state = _read(newest)
    try:
        set_state_dict(
            network, optimizer,
            model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=WHOLE,
        )  # fmt: skip
        best = None if state["best"] is None else Best(**state["best"])
        return Progress(
            next_step=int(state["next_step"]), history=list(state["history"]), best=best
        )
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refusal(newest, str(error)) from error


def resume_point(policy: CheckpointPolicy) -> Path | None:
    """Return the checkpoint that a run goes on from, or None where it starts anew.

    Raises:
        ArtifactError: It is another run's and differs in more than was accepted, or there is none
            where ``continue_from`` points.
    """
    own = _newest(policy.folder)
    if own is not None:
        if changed := differences(_claim(own)["identity"], policy.identity):
            raise _refusal(own, f"its .json says that it is of another run: {_listed(changed)}")
        return own
    if policy.continue_from is None:
        return None
    other = _newest(policy.continue_from)
    if other is None:
        raise ArtifactError(
            f"pretrain.continue_from names {policy.continue_from}, which holds no checkpoint; "
            "check the path or set it to null"
        )
    known = {f"pretrain.{name}" for name in policy.accept_changes} | set(policy.accept_changes)
    changed = differences(_claim(other)["identity"], policy.identity)
    if refused := {name: pair for name, pair in changed.items() if name not in known}:
        raise _other_run(other, refused)
    return other


def differences(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Return name -> (stored, wanted) of all values in which two identities differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted(stored.keys() | wanted.keys()):
        one, other = stored.get(name), wanted.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= differences(one, other, f"{prefix}{name}.")
        elif one != other:
            found[f"{prefix}{name}"] = (one, other)
    return found


def last_step(policy: CheckpointPolicy) -> int:
    """Return how many steps of this very run are done and saved."""
    newest = _newest(policy.folder)
    return 0 if newest is None else _step_of(newest)


def unfinished_relatives(
    policy: CheckpointPolicy, folders: Iterable[Path], root: Path
) -> list[str]:
    """Return a sentence for each of the most similar runs that stopped early.

    Nothing is said when this run has checkpoints or is told where to start. A run whose settings
    were changed has a folder of its own, so its user may not notice that the steps of the first
    one are not used.

    Args:
        policy: The run that is about to start anew.
        folders: Where other runs keep their checkpoints.
        root: What the setting that names one of them is relative to.
    """
    if _newest(policy.folder) is not None or policy.continue_from is not None:
        return []
    found = []
    for folder in folders:
        newest = _newest(folder)
        if newest is None:
            continue
        identity = read_json(newest.with_suffix(".json"))["identity"]
        step, num_steps = _step_of(newest), identity["pretrain"]["num_steps"]
        if step < num_steps:
            changed, place = differences(identity, policy.identity), folder.relative_to(root)
            sentence = (
                f"{folder.name} stopped at step {step} of {num_steps} and differs in "
                f"{_listed(changed)}; to go on from it: --set pretrain.continue_from={place} "
                f"--set '{_accepting(changed)}'"
            )
            found.append((len(changed), -step, sentence))
    return [sentence for _, _, sentence in sorted(found)[:MAX_RELATIVES]]


@contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Hold a run's folder, and clear what a killed process left half-written in it.

    Raises:
        TrainingError: Another process is training the same run.
        StorageError: The folder cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a+", encoding="utf-8")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise TrainingError(
                f"another process is training this very run: {folder} is held by process "
                f"{lock.read().strip() or 'unknown'}; wait for it or end it"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for part in folder.glob(".step-*.part"):
            part.unlink()
        yield


def _write_state(state: Mapping[str, Any], file: IO[bytes]) -> None:
    """Write a state; raises OSError on a full disk, which torch calls an internal error."""
    try:
        torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _newest(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to the end."""
    claimed = sorted(folder.glob("step-*.json"))
    return claimed[-1].with_suffix(".pt") if claimed else None


def _step_of(path: Path) -> int:
    return int(path.stem.partition("-")[2])


def _claim(path: Path) -> dict[str, Any]:
    """Return what the JSON of a checkpoint says, which holds all that it must."""
    try:
        claim = read_json(path.with_suffix(".json"))
    except RecordError as error:
        raise _refusal(path, str(error)) from error
    if not isinstance(claim, dict) or not isinstance(claim.get("identity"), dict):
        raise _refusal(path, "its .json does not say of which run it is")
    if not isinstance(claim.get("sha256"), str):
        raise _refusal(path, "its .json does not say what it should hold")
    return claim


def _read(path: Path) -> dict[str, Any]:
    """Return the state in a checkpoint, after checking every byte."""
    try:
        digest, claim = digest_file(path, path.parent), _claim(path)
        if digest.sha256 != claim["sha256"]:
            written = claim.get("size")
            reason = f"it has {digest.size} bytes where {written} were written"
            raise _refusal(path, reason if digest.size != written else "its content was changed")
        state = torch.load(path, weights_only=True)
        if not isinstance(state, dict):
            raise _refusal(path, f"it holds {type(state).__name__}, expected the state of a run")
        return state
    except UnpicklingError as error:
        # Torch's own message recommends to unpickle the file anyway.
        raise _refusal(path, "it holds more than tensors and plain values") from error
    except ArtifactError:
        raise
    except (RecordError, RuntimeError, TypeError, ValueError, OSError, EOFError) as error:
        raise _refusal(path, str(error)) from error


def _remove_old(folder: Path) -> None:
    kept = {path.stem for path in sorted(folder.glob("step-*.json"))[-KEEP:]}
    # JSON first: what has one must be whole.
    for suffix in (".json", ".pt"):
        for path in folder.glob(f"step-*{suffix}"):
            if path.stem not in kept:
                path.unlink()


def _plain(best: Best) -> dict[str, Any]:
    return {"step": best.step, "score": best.score, "encoder": dict(best.encoder)}


def _other_run(path: Path, changed: Mapping[str, tuple[Any, Any]]) -> ArtifactError:
    return ArtifactError(
        f"cannot resume from {path}: that run was another in {_listed(changed)}. To go on from it "
        f"all the same, name what may differ: --set '{_accepting(changed)}'"
    )


def _listed(changed: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(
        f"{name} {_short(one)} -> {_short(two)}" for name, (one, two) in changed.items()
    )


def _accepting(changed: Mapping[str, Any]) -> str:
    names = ", ".join(name.removeprefix("pretrain.") for name in changed)
    return f"pretrain.accept_changes=[{names}]"


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) > 24 else text


def _refusal(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        f"cannot resume from {path}: {reason}. Delete the file and its .json to go on from the "
        "one before"
    )
