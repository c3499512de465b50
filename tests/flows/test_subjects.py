"""A version or an export is named in the same way in every command."""

import argparse
import shutil
from pathlib import Path

import pytest

from flows.cli.main import build_parser
from flows.cli.parsers import SUBJECT
from flows.context import load_context
from flows.services.subjects import find, find_version_of, resolve
from tessera_core.errors import InputError, RecordError
from tests.unit.lineage.audit.built import Run

EXPORT = "tessera-v1-first"

TAKING = {
    "audit": ["subject"],
    "attest": ["subject"],
    "replay": ["version"],
    "compare": ["first", "second"],
    "promote": ["version"],
    "benchmark": ["model"],
    "embed": ["model"],
}
"""Command -> its arguments that name a version or an export."""


@pytest.fixture
def run(root: Path, own_environment: None) -> Run:
    return Run(root=root).cycle()


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [
        each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction)
    ]
    return dict(found.choices)


def test_every_command_that_takes_one_says_so_in_the_same_words() -> None:
    said = {
        name: [each.dest for each in parser._actions if SUBJECT in (each.help or "")]
        for name, parser in commands().items()
    }

    assert {name: found for name, found in said.items() if found} == TAKING


def test_no_command_has_words_of_its_own_for_one() -> None:
    for name, parser in commands().items():
        for action in parser._actions:
            text = (action.help or "").replace(SUBJECT, "")
            assert "NAME/VERSION" not in text, (name, action.dest)
            assert "NAME@ALIAS" not in text, (name, action.dest)


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        (None, EXPORT),
        (EXPORT, EXPORT),
        (f"data/exports/{EXPORT}", EXPORT),
        (f"data/exports/{EXPORT}/", EXPORT),
        ("1", "tessera/1"),
        ("tessera/1", "tessera/1"),
        ("other/7", "other/7"),
    ],
)
def test_what_needs_no_registry_is_resolved_without_one(
    run: Run, reference: str | None, named: str
) -> None:
    context = load_context(run.root)

    assert resolve(context, reference).reference == named
    assert not (run.root / ".mlflow" / "mlflow.db").exists()
    if reference != "other/7":
        assert find_version_of(context, reference) == ("tessera", "1")
        assert find(context, reference).name in (EXPORT, "tessera-1")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tessera-v1-frist", "Did you mean 'tessera-v1-first'?"),
        ("tessera@champion", "tessera@champion needs the registry, but there is no mlflow.db"),
        ("tessera@", "'tessera@' is no version and no export"),
        ("@champion", "'@champion' is no version and no export"),
        ("../../etc/passwd", "is no version and no export"),
        ("1.5", "1.5 is no export, and only the registry knows models by name, but there is no"),
        ("-1", "is no version and no export"),
        ("tessera/1/2", "is no version and no export"),
        ("\x00", "is no version and no export"),
        ("x" * 5000, "is no version and no export"),
        ("\U0001f600", "is no version and no export"),
        ("", "is no version and no export"),
    ],
)
def test_what_is_no_name_is_refused_with_what_may_be_written(
    run: Run, reference: str, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        resolve(load_context(run.root), reference)

    assert message in str(refused.value)
    assert SUBJECT in str(refused.value)


def test_an_export_whose_folder_is_gone_is_told_as_that(run: Run) -> None:
    shutil.rmtree(run.paths.exports / EXPORT)

    assert resolve(load_context(run.root), EXPORT).reference == EXPORT
    with pytest.raises(
        InputError, match="was published, but data/exports/tessera-v1-first is gone"
    ):
        find(load_context(run.root), EXPORT)


def test_without_an_export_nothing_is_taken_for_the_current_one(root: Path) -> None:
    with pytest.raises(RecordError, match="run `tessera export` first, or name one of VERSION"):
        resolve(load_context(root), None)
