"""dvc.yaml, params.yaml, the stages and the settings use the same words."""

import dataclasses
import typing
from collections.abc import Iterator

import pytest
import yaml

from tessera_core.config import PlatformConfig
from tessera_core.records.code import closure_files
from tessera_core.records.cycle import STAGES

NAMES = ("ingest", "quality", "shuffle", "pretrain", "evaluate", "register", "export", "audit")


@pytest.fixture(scope="module")
def pipeline(repo) -> dict[str, dict]:
    return yaml.safe_load((repo / "dvc.yaml").read_text("utf-8"))["stages"]


@pytest.fixture(scope="module")
def params(repo) -> dict[str, dict]:
    return yaml.safe_load((repo / "params.yaml").read_text("utf-8"))


def dataclasses_within(annotation) -> list[type]:
    """The dataclass an annotation is, or holds as member or element."""
    if dataclasses.is_dataclass(annotation):
        return [annotation]
    return [inner for part in typing.get_args(annotation) for inner in dataclasses_within(part)]


def mismatches(owner: type, values: dict, where: str) -> Iterator[str]:
    """Yield one line per key without a field and per required field without a key."""
    hints = typing.get_type_hints(owner)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(owner) if field.init}
    yield from (f"{where}{key} is in params.yaml only" for key in values.keys() - fields.keys())
    yield from (f"{where}{name} is in the code only" for name in fields.keys() - values.keys())
    for name in fields.keys() & values.keys():
        value, inner = values[name], dataclasses_within(fields[name])
        nested = value if isinstance(value, list) else [value]
        for mapping in (part for part in nested if inner and isinstance(part, dict)):
            yield from mismatches(inner[0], mapping, f"{where}{name}.")


def test_the_stages_are_the_eight_words_in_order():
    assert tuple(STAGES) == NAMES


def test_every_dvc_stage_is_a_stage_of_the_core_with_its_settings(pipeline, params):
    assert pipeline.keys() <= STAGES.keys()
    assert pipeline.keys() <= params.keys()


def test_dvc_runs_every_stage_but_the_release_action(pipeline):
    # `register` moves an alias in a registry, which no file on disk can show to be stale.
    assert set(NAMES) - pipeline.keys() == {"register"}


def test_dvc_calls_each_stage_by_its_name(pipeline):
    commands = {name: stage["cmd"].split() for name, stage in pipeline.items()}

    called = {name: command[:4] for name, command in commands.items()}

    assert called == {name: ["python", "-m", "tessera_core", name] for name in pipeline}


def test_a_stage_goes_stale_with_exactly_the_settings_it_reads(pipeline):
    tracked = {name: sorted(stage.get("params", [])) for name, stage in pipeline.items()}

    assert tracked == {name: sorted(STAGES[name].sections) for name in pipeline}


def test_every_setting_has_one_value_and_one_meaning(params):
    assert list(mismatches(PlatformConfig, params, "")) == []


def test_the_comparison_names_what_stands_on_one_side_only():
    @dataclasses.dataclass
    class Inner:
        kept: int
        forgotten: int

    @dataclasses.dataclass
    class Outer:
        inner: Inner | None
        several: tuple[Inner, ...]

    values = {"inner": {"kept": 1, "extra": 2}, "several": [{"kept": 1, "forgotten": 2}]}

    found = sorted(mismatches(Outer, values, ""))

    assert found == ["inner.extra is in params.yaml only", "inner.forgotten is in the code only"]


def test_dvc_watches_all_code_that_a_stage_can_reach(pipeline, repo):
    for name, stage in pipeline.items():
        watched = [repo / dep for dep in stage["deps"] if str(dep).startswith("tessera_core")]
        unwatched = [
            path.relative_to(repo).as_posix()
            for path in closure_files(STAGES[name].module)
            if not any(path == dep or dep in path.parents for dep in watched)
        ]

        assert unwatched == [], f"{name} reaches code that dvc.yaml does not watch"


def test_every_stage_has_a_prefect_task_of_its_name():
    from flows import tasks

    assert [getattr(tasks, name).name for name in NAMES] == list(NAMES)


def test_dvc_finds_the_pointers_of_runs_and_nothing_else_under_data(repo, tmp_path):
    from dvc.scm import SCM

    (tmp_path / ".git").mkdir()
    for name in ("HEAD", "config"):
        (tmp_path / ".git" / name).write_text("ref: refs/heads/main\n" if name == "HEAD" else "")
    for name in ("objects", "refs"):
        (tmp_path / ".git" / name).mkdir()
    (tmp_path / ".gitignore").write_bytes((repo / ".gitignore").read_bytes())
    git = SCM(str(tmp_path))
    pointer = "data/runs/0123456789ab/data/samples.dvc"
    parts = pointer.split("/")
    parents = ["/".join(parts[:number]) + "/" for number in range(1, len(parts))]

    assert [path for path in (*parents, pointer) if git.is_ignored(f"{tmp_path}/{path}")] == []
    assert git.is_ignored(f"{tmp_path}/data/runs/0123456789ab/data/samples/")
    assert git.is_ignored(f"{tmp_path}/data/lineage/")
