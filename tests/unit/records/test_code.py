"""Which code ran: the closure follows imports, lazy ones too, and changes when a source does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tessera_core.records.code import (
    closure_digest,
    closure_files,
    code_version,
    environment_digest,
    environment_versions,
    meaning_of,
)
from tessera_core.records.cycle import STAGES

PRINT_VERSION = """
import json, sys
from tessera_core.records.code import code_version
print(json.dumps(code_version(sys.argv[1]).to_dict()))
"""

GIT_SETTINGS = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")


def reached(repo: Path, module: str) -> set[str]:
    """Files in a module's closure, relative to the package."""
    package = repo / "tessera_core"
    return {path.relative_to(package).as_posix() for path in closure_files(module)}


@pytest.fixture
def checkout(repo, tmp_path) -> Path:
    """A copy of the package that may be changed."""
    shutil.copytree(
        repo / "tessera_core",
        tmp_path / "checkout" / "tessera_core",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return tmp_path / "checkout"


def clean_environment(checkout: Path) -> dict[str, str]:
    """Without what git sets for its hooks, and with no repository above the checkout."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**own, "GIT_CEILING_DIRECTORIES": str(checkout.parent)}


def version_in(checkout: Path, module: str = "tessera_core.shuffle.stage") -> dict:
    """The code version that a fresh process in a checkout reports."""
    run = subprocess.run(
        [sys.executable, "-B", "-c", PRINT_VERSION, module],
        cwd=checkout,
        env=clean_environment(checkout),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(run.stdout)


def git(checkout: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", *GIT_SETTINGS, *arguments],
        cwd=checkout,
        env=clean_environment(checkout),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout.strip()


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text("utf-8") + f"\n{text}\n", "utf-8")


def test_a_closure_holds_the_module_what_it_imports_and_their_packages(repo):
    files = reached(repo, "tessera_core.shuffle.stage")

    assert files >= {
        "__init__.py",
        "errors.py",
        "domain/__init__.py",
        "domain/scl.py",  # only through domain/dpixel.py
        "records/samples.py",
        "shuffle/__init__.py",
        "shuffle/norms.py",
        "shuffle/stage.py",
    }
    assert not {path for path in files if path.startswith(("ingest/", "model/", "pretrain/"))}


def test_a_closure_follows_imports_inside_functions(repo):
    files = reached(repo, "tessera_core.ingest.stage")

    # Both sources are imported by open_source() when it is called.
    assert files >= {"ingest/sources/tiles.py", "ingest/sources/stac.py", "ingest/rasters.py"}


def test_a_closure_leaves_out_what_only_a_type_checker_imports(repo):
    # A stage names PlatformConfig, and through it every stage, as a type only.
    assert "config.py" not in reached(repo, "tessera_core.ingest.stage")
    assert "config.py" in reached(repo, "tessera_core.stages")


def test_a_closure_leaves_out_what_only_shows_results(repo):
    for stage in STAGES.values():
        assert not {name for name in reached(repo, stage.module) if name.startswith("pages/")}
    imports = (repo / "tessera_core" / "evaluate" / "job.py").read_text("utf-8")
    assert "from tessera_core.pages" in imports


def test_a_closure_names_no_module_of_others(repo):
    files = closure_files("tessera_core.shuffle.stage")

    assert all(path.is_relative_to(repo / "tessera_core") for path in files)
    assert files == sorted(set(files))


def test_a_closure_in_another_folder_has_the_same_digest(checkout):
    digest = version_in(checkout)["closure"]

    assert digest == closure_digest("tessera_core.shuffle.stage")
    assert len(digest) == 64


@pytest.mark.parametrize("path", ["shuffle/stage.py", "shuffle/norms.py", "domain/scl.py"])
def test_a_changed_source_that_can_be_reached_changes_the_digest(checkout, path):
    append(checkout / "tessera_core" / path, "ADDED = 1")

    assert version_in(checkout)["closure"] != closure_digest("tessera_core.shuffle.stage")


def test_a_changed_source_elsewhere_does_not_change_the_digest(checkout):
    append(checkout / "tessera_core" / "pretrain" / "stage.py", "ADDED = 1")

    assert version_in(checkout)["closure"] == closure_digest("tessera_core.shuffle.stage")


@pytest.mark.parametrize("stage", ["quality", "pretrain", "evaluate", "export"])
def test_a_changed_figure_template_or_comment_changes_no_digest(checkout, stage):
    pages = checkout / "tessera_core" / "pages"
    for path in pages.glob("*.py"):
        append(path, "ADDED = 1")
    for path in pages.glob("*.j2"):
        append(path, "<p>added</p>")
    for path in checkout.rglob("*.py"):
        append(path, "# a comment")

    module = STAGES[stage].module

    assert version_in(checkout, module)["closure"] == closure_digest(module)


SOURCE = """
from dataclasses import dataclass

LIMIT = 3

@dataclass(frozen=True)
class Box:
    edge: int = 1

def area(box, scale=2):
    if box.edge < LIMIT:
        return box.edge * box.edge
    return f"{scale:<{LIMIT}}"
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 3  # three"),
        ("LIMIT = 3", 'LIMIT = 3\n"""Why three."""'),
        ("LIMIT = 3", "LIMIT = (\n    3\n)"),
        ("LIMIT = 3\n", "\n\n\nLIMIT = 3\n"),
        ("    edge: int = 1", '    """A box."""\n\n    edge: int = 1\n    """In metres."""'),
        ("scale=2):", 'scale=2):\n    """Return the area."""'),
        ('f"{scale:<{LIMIT}}"', "f'{scale:<{LIMIT}}'"),
    ],
)
def test_what_only_people_read_changes_no_meaning(old, new):
    changed = SOURCE.replace(old, new)

    assert changed != SOURCE
    assert meaning_of(changed.encode()) == meaning_of(SOURCE.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("edge * box", "edge + box"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", 'LIMIT = "3"'),
        ("box.edge < LIMIT", "box.edge <= LIMIT"),
        ("scale=2", "scale=1"),
        ("frozen=True", "frozen=False"),
        ("edge: int", "edge: float"),
        ("@dataclass(frozen=True)\n", ""),
        ("def area", "async def area"),
        ("box.edge * box.edge", "box.edge * (box.edge)**1"),
        ("    return f", "    f"),
        (
            "    if box.edge < LIMIT:\n        return",
            "    if not box.edge < LIMIT:\n        return",
        ),
        ("{scale:<", "{scale:>"),
    ],
)
def test_what_the_program_does_otherwise_changes_its_meaning(old, new):
    changed = SOURCE.replace(old, new)

    assert changed != SOURCE
    assert meaning_of(changed.encode()) != meaning_of(SOURCE.encode())


def test_every_python_that_we_support_finds_the_same_meaning():
    # Recorded with 3.11; 3.12 and 3.13 agree, though their syntax trees differ in empty parts.
    recorded = "bdd7fc81fcdb992520418e216dad4860f290634949b458bd4a66ece06f92587d"

    assert meaning_of(SOURCE.encode()) == recorded


def test_the_order_of_statements_is_meaning():
    assert meaning_of(b"a = 1\nb = 2\n") != meaning_of(b"b = 2\na = 1\n")


def test_no_module_of_ours_computes_with_a_docstring(repo):
    readers = [
        path.name for path in (repo / "tessera_core").rglob("*.py")
        if "__doc__" in path.read_text("utf-8")
    ]  # fmt: skip

    assert readers == []


def test_outside_a_checkout_the_commit_is_unknown_and_the_code_called_dirty(checkout):
    version = version_in(checkout)

    assert (version["commit"], version["dirty"]) == ("unknown", True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_dirty_means_changed_code_and_not_changed_data(checkout):
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "x")
    (checkout / "data").mkdir()
    (checkout / "data" / "new.bin").write_bytes(b"")
    clean = version_in(checkout)
    append(checkout / "tessera_core" / "errors.py", "# changed")
    dirty = version_in(checkout)

    assert clean["commit"] == dirty["commit"] == git(checkout, "rev-parse", "HEAD")
    assert (clean["dirty"], dirty["dirty"]) == (False, True)


def test_a_code_version_is_plain_json():
    version = code_version("tessera_core.shuffle.stage").to_dict()

    assert json.loads(json.dumps(version)) == version
    assert set(version) == {"commit", "dirty", "closure"}


def test_the_environment_is_python_and_our_direct_dependencies():
    versions = environment_versions()

    assert {"python", "numpy", "pyarrow", "torch", "great-expectations"} <= set(versions)
    assert "pytest" not in versions  # an extra
    assert not {name for name in versions if set(name) & set("<>=!~[; ")}
    assert len(environment_digest()) == 64
