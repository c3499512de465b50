"""Every deliberate error of the platform, in one tree.

The command line turns the class into an exit code; a flow decides by class whether to retry.
A message says what went wrong, where, what was found, what was expected, and what to do next.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TesseraError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class InputError(TesseraError, ValueError):
    """The user's input cannot be used: a file, an argument, a catalogue."""

    exit_code = 2


class ConfigError(InputError):
    """A setting is unknown, misspelt or out of range."""


class SceneError(InputError):
    """A scene source (catalogue, tile directory, raster) is unreadable or breaks its contract."""


class RecordError(InputError):
    """A stored record (samples, shard, manifest, receipt) is unreadable or breaks its schema."""


class ArtifactError(InputError):
    """A model artifact or checkpoint is unreadable, incomplete or not what it claims to be."""


class AbsentDataError(InputError):
    """Data that a task asks for is not there; whoever did not ask by name goes on without it."""


class LeakageError(InputError):
    """Something is on both sides of a split."""


class GateError(TesseraError):
    """A gate said no: quality, promotion or audit."""

    exit_code = 3


class TrainingError(TesseraError, RuntimeError):
    """Training cannot go on: a loss that is not finite, a collapsed representation."""


class StorageError(TesseraError, OSError):
    """The machine failed while writing: disk full, permission denied."""

    # Wrong place or full disk is for the user to mend, like bad input.
    exit_code = 2


class RemoteError(TesseraError, RuntimeError):
    """A service did not answer, answered with an error, or with something that is no answer.

    It is never a "no": nothing was decided, and the same command may go on when it answers.
    """


class BusyError(TesseraError):
    """Another process holds what this one needs, and does not let go of it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint naming the closest known word, or the whole list when none is close.

    >>> did_you_mean("peek_lr", ["peak_lr", "num_steps"])
    "Did you mean 'peak_lr'?"
    """
    choices = sorted(known)
    close = get_close_matches(name, choices, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(choices)}."
