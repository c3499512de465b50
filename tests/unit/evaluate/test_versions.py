"""Two versions are compared whatever tasks are asked: any task alone is a legitimate list."""

import shutil

import pytest

from tessera_core.compare.versions import compare_versions
from tessera_core.config import PlatformConfig
from tessera_core.errors import RecordError
from tessera_core.evaluate.job import protocol_digest
from tessera_core.model.artifact import write_artifact
from tessera_core.records.benchmarks import Role, Source, read_benchmark
from tessera_core.records.evaluation import COMPARISON_NAME
from tessera_core.records.files import read_json
from tessera_core.records.paths import Paths
from tessera_core.testing.benchmarks import lay_benchmarks
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels
from tests.conftest import REPO
from tests.unit.evaluate.test_stage import OVERRIDES, workspace, write_labels

FOUND = [read_benchmark(path) for path in sorted((REPO / "data" / "benchmarks").glob("*.yaml"))]
ABOUT_SAMPLES = [
    one.name for one in FOUND if one.role == Role.REPORT and one.data.kind == Source.SAMPLES
]


@pytest.fixture(scope="module")
def both(tmp_path_factory, repo) -> Paths:
    """A workspace with labelled samples and two models."""
    _, paths = workspace(tmp_path_factory.mktemp("both"), repo)
    lay_benchmarks(repo, paths.root)
    write_labels(paths.root / "tiles")
    write_artifact(paths.root / "other", tiny_encoder(1), TINY_CONFIG, NORMS, random_pixels(8, 0))
    return paths


def asking(*tasks: str) -> PlatformConfig:
    """Return settings with these tasks."""
    return PlatformConfig.read(
        REPO / "params.yaml", (*OVERRIDES, f"evaluate.tasks=[{', '.join(tasks)}]")
    )


@pytest.mark.parametrize("task", [*ABOUT_SAMPLES, "flanders_crops", "breizhcrops"])
def test_two_versions_can_be_compared_whichever_task_is_asked_alone(both, task):
    folder = compare_versions(both.root / "other", both.model, asking(task), both)

    comparison = read_json(folder / COMPARISON_NAME)
    assert comparison["time_ratio"]["median"] > 0
    assert comparison["champion"]["model_digest"] != comparison["challenger"]["model_digest"]


def test_samples_are_asked_for_only_by_tasks_about_them(both, tmp_path):
    without = Paths(root=both.root, workspace=tmp_path)
    shutil.copytree(both.model, without.model)
    elsewhere = asking("flanders_crops")

    assert protocol_digest(elsewhere, without) == protocol_digest(elsewhere, both)
    with pytest.raises(RecordError, match="land_cover ask for the run's samples; run `tessera ing"):
        protocol_digest(asking("flanders_crops", "land_cover"), without)
