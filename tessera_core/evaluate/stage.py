"""The evaluate stage: trained encoder to scores, figures and a report."""

from typing import TYPE_CHECKING

from tessera_core.evaluate.job import facts_of, protocol_digest, task_files, write_evaluation
from tessera_core.ports import Ports
from tessera_core.records.files import FileDigest
from tessera_core.records.manifest import MANIFEST_NAME
from tessera_core.records.outcome import Outcome
from tessera_core.records.paths import Paths

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig


def sources(config: "PlatformConfig", paths: Paths) -> tuple[FileDigest, ...]:
    """Return the definitions of tasks, and the labels and data that they ask for."""
    return task_files(config, paths)


def run(config: "PlatformConfig", paths: Paths, ports: Ports) -> Outcome:
    """Score the trained encoder against its baselines and write a report.

    A task without enough labels is skipped with a reason; that is not an error.
    """
    from tessera_core.model.artifact import best_device, load_artifact

    artifact = load_artifact(paths.model, best_device())
    evaluation = write_evaluation(
        paths.evaluation,
        artifact,
        config,
        paths,
        protocol_digest(config, paths),
        mapper=ports.model_mapper,
    )
    return Outcome(outputs=(paths.evaluation / MANIFEST_NAME,), facts=facts_of(evaluation))
