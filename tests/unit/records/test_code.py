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
)

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


def append_comment(path: Path) -> None:
    path.write_text(path.read_text("utf-8") + "\n# changed\n", "utf-8")


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


def test_a_closure_includes_the_templates_beside_its_modules(repo):
    templates = {path.name for path in (repo / "tessera_core" / "evaluate").glob("*.j2")}

    assert templates
    found = reached(repo, "tessera_core.evaluate.stage")
    assert {f"evaluate/{name}" for name in templates} <= found


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
    append_comment(checkout / "tessera_core" / path)

    assert version_in(checkout)["closure"] != closure_digest("tessera_core.shuffle.stage")


def test_a_changed_source_elsewhere_does_not_change_the_digest(checkout):
    append_comment(checkout / "tessera_core" / "pretrain" / "stage.py")

    assert version_in(checkout)["closure"] == closure_digest("tessera_core.shuffle.stage")


def test_a_changed_template_changes_the_digest(checkout):
    append_comment(next((checkout / "tessera_core" / "evaluate").glob("*.j2")))

    changed = version_in(checkout, "tessera_core.evaluate.stage")

    assert changed["closure"] != closure_digest("tessera_core.evaluate.stage")


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
    append_comment(checkout / "tessera_core" / "errors.py")
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
