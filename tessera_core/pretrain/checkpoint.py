"""Checkpoints: written whole, read without unpickling, bound to one run's identity."""

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from torch import nn

from tessera_core.errors import ArtifactError
from tessera_core.records.files import write_atomically

KEEP: Final = 2
"""Older checkpoints are removed."""


def save_checkpoint(
    folder: Path,
    next_step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: list[dict[str, Any]],
) -> Path:
    """Write the state after a step and remove old ones; return the file."""
    state = {
        "next_step": next_step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"step-{next_step:08d}.pt"
    write_atomically(path, buffer.getvalue())
    for old in sorted(folder.glob("step-*.pt"))[:-KEEP]:
        old.unlink()
    return path


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, list[dict[str, Any]]]:
    """Restore the newest checkpoint; return the next step and the history so far.

    Returns step 0 and no history when the folder has no checkpoint.

    Raises:
        ArtifactError: The newest checkpoint is truncated or does not fit.
    """
    found = sorted(folder.glob("step-*.pt"))
    if not found:
        return 0, []
    try:
        state = torch.load(found[-1], weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["next_step"]), list(state["history"])
    except UnpicklingError as error:
        # Torch's own message recommends to unpickle the file anyway.
        reason = "it is cut off or holds more than tensors and plain values"
        raise _refusal(found[-1], reason) from error
    except (RuntimeError, KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise _refusal(found[-1], str(error)) from error


def _refusal(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        f"cannot resume from {path}: {reason}. Delete the file to go on from the one before"
    )
