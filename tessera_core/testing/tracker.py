"""A tracker that keeps everything in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True, kw_only=True)
class InMemoryTracker:
    """What a run reported, in order; a ``Tracker``."""

    params: dict[str, object] = field(default_factory=dict)
    """Settings by name."""

    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """(step, numbers) of each report."""

    artifacts: list[tuple[Path, str]] = field(default_factory=list)
    """(file, folder) of each report."""

    tags: dict[str, str] = field(default_factory=dict)
    """Labels of the run."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Keep settings."""
        self.params.update(params)

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep numbers of one step."""
        self.metrics.append((step, dict(metrics)))

    def log_artifact(self, path: Path, folder: str) -> None:
        """Keep the place of a file."""
        self.artifacts.append((path, folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Keep labels."""
        self.tags.update(tags)
