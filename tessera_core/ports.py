"""What a stage needs from its surroundings, as protocols; flows and tests bring their own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Tracker(Protocol):
    """Where training and evaluation report to; a pointer store, never evidence."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings, once per run."""

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record numbers of one step."""

    def log_artifact(self, path: Path, folder: str) -> None:
        """Record a file, under a folder of the run's artifacts."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record labels of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """One version in the registry."""

    version: str
    """Version number as the registry gives it."""

    model_digest: str
    """Digest of the model artifact, from the version's tags."""

    receipt: str
    """Digest of the evaluation receipt the version was registered with."""

    override: str = ""
    """Who made it champion whatever the rule said, and why; empty where the rule decided."""

    override_record: str = ""
    """Digest of that decision's record in the lineage; empty where the rule decided."""


class ModelRegistry(Protocol):
    """Where model versions and the champion and challenger aliases live.

    A method that gets no usable answer raises RemoteError; it never takes that for "none".
    """

    def listed(self) -> Sequence[RegisteredModel]:
        """Return all versions, oldest first."""

    def reached(self) -> int:
        """Return the highest number that was given, as far as is known; 0 where none was."""

    def champion(self) -> RegisteredModel | None:
        """Return the version that is served, or None when there is none yet."""

    def register(self, artifact: Path, tags: Mapping[str, str]) -> RegisteredModel:
        """Store a new version of the model."""

    def fetch(self, version: str, target: Path) -> None:
        """Copy a version's artifact folder to ``target``."""

    def set_alias(self, alias: str, version: str, tags: Mapping[str, str]) -> None:
        """Point an alias at a version and tag that version."""


class Mapper(Protocol):
    """How a stage runs one function over many items: in a loop, or as mapped tasks."""

    def __call__(
        self, name: str, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Sequence[Result]:
        """Return the results in the order of the items; the first error is raised."""


class NullTracker:
    """Records nothing; stages keep their own history on disk."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Ignore."""

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Ignore."""

    def log_artifact(self, path: Path, folder: str) -> None:
        """Ignore."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Ignore."""


def map_serially(
    name: str, function: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """Run a function over items one after the other, with a progress bar."""
    from tqdm import tqdm

    return [function(item) for item in tqdm(list(items), desc=name, leave=False, disable=None)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that a stage may use."""

    tracker: Tracker
    """Experiment tracking."""

    registry: ModelRegistry | None
    """Model registry; None where no release can happen, as under ``dvc repro``."""

    mapper: Mapper
    """Fan-out over tiles."""

    model_mapper: Mapper = map_serially
    """Fan-out over the small models that score an encoder; items and results can be pickled."""

    data_versions: Mapping[str, str]
    """Tags that name the data as the versioning tool knows it; pointers, never evidence."""


OFFLINE = Ports(tracker=NullTracker(), registry=None, mapper=map_serially, data_versions={})
"""Ports that need nothing: no tracking, no registry, one item at a time."""
