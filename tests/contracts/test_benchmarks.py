"""The repository's benchmark definitions are ones that can be scored and told apart."""

import pytest

from tessera_core.domain.scores import Kind
from tessera_core.records.benchmarks import Role, Source, read_benchmark

OF_THE_DEFAULT = {"crop_type", "crop_presence", "canopy_height", "land_cover", "burned"}
READY = {
    "austria_crops", "austria_crops_patches", "pastis_r", "biomassters", "breizhcrops",
    "cropharvest", "burned_areas", "canopy_height_borneo",
}  # fmt: skip


@pytest.fixture(scope="module")
def benchmarks(repo):
    paths = sorted((repo / "data/benchmarks").glob("*.yaml"))
    return {path.stem: read_benchmark(path) for path in paths}


def test_the_embedded_default_has_a_report_task_of_every_kind(benchmarks):
    own = [
        each for each in benchmarks.values()
        if each.data.kind == Source.SAMPLES and each.role == Role.REPORT
    ]  # fmt: skip

    assert {each.name for each in own} == OF_THE_DEFAULT
    assert {each.kind for each in own} == set(Kind)


def test_public_data_sets_have_ready_definitions(benchmarks):
    assert benchmarks.keys() >= READY


def test_every_task_says_whose_protocol_it_follows(benchmarks):
    assert [name for name, each in benchmarks.items() if not each.protocol] == []
    for name in READY:
        assert "method.md 8" in benchmarks[name].protocol or "data of" in benchmarks[name].protocol
        assert "Ours departs" in benchmarks[name].protocol


def test_the_two_root_mean_square_errors_have_two_names(benchmarks):
    metrics = benchmarks["biomassters"].metrics

    assert metrics[0] == "per_chip_rmse"
    assert "global_rmse" in metrics


def test_the_task_that_chooses_and_the_one_that_reports_differ_in_fields_alone(benchmarks):
    chooses, reports = benchmarks["crop_type_selection"], benchmarks["crop_type"]

    assert chooses.role == Role.SELECTION
    assert (chooses.data, chooses.truth, chooses.group) == (
        reports.data, reports.truth, reports.group,
    )  # fmt: skip
    assert [name for name, each in benchmarks.items() if each.role == Role.SELECTION] == [
        "crop_type_selection"
    ]


def test_every_definition_is_tracked_by_git_and_named_in_the_guide(repo, benchmarks):
    guide = (repo / "docs/how-to/benchmarks.md").read_text(encoding="utf-8")
    ignored = (repo / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert "!/data/benchmarks/*.yaml" in ignored
    assert [name for name in benchmarks if f"`{name}`" not in guide] == []
