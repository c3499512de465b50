"""Importing the core and asking for help cost no heavy library."""

import subprocess
import sys
import tomllib

import pytest

import tessera_core
from tessera_core.records.cycle import STAGES

HEAVY = {
    "dvc",
    "great_expectations",
    "matplotlib",
    "mlflow",
    "pandas",
    "prefect",
    "rasterio",
    "scipy",
    "sklearn",
    "torch",
    "xarray",
    "zarr",
}


def imported_packages(repo, *arguments: str) -> set[str]:
    """Top-level packages a Python process imports; it must exit with 0."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    # import time:  self [us] | cumulative | imported package
    reports = (line for line in run.stderr.splitlines() if line.startswith("import time:"))
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in reports}


def tessera_command(repo) -> str:
    """What the installed ``tessera`` script runs, as pyproject.toml declares it."""
    project = tomllib.loads((repo / "pyproject.toml").read_text("utf-8"))["project"]
    module, function = project["scripts"]["tessera"].split(":")
    return f"import sys; from {module} import {function}; sys.exit({function}())"


def test_the_measure_sees_an_import_inside_a_function(repo):
    packages = imported_packages(repo, "-c", "def late():\n    import wave\nlate()")

    assert "wave" in packages


@pytest.mark.parametrize("module", ["tessera_core", "flows"])
def test_importing_the_package_loads_no_heavy_library(repo, module):
    packages = imported_packages(repo, "-c", f"import {module}")

    assert module in packages
    assert packages & HEAVY == set()


def test_a_public_name_is_no_module_of_the_package(repo):
    """Else importing the module would put it in the place of the name."""
    modules = {path.stem for path in (repo / "tessera_core").iterdir()}

    assert set(tessera_core.__all__) & modules == set()


def test_every_public_name_is_there_and_no_other():
    assert all(hasattr(tessera_core, name) for name in tessera_core.__all__)
    assert set(tessera_core.__all__) <= set(dir(tessera_core))
    with pytest.raises(AttributeError, match="no attribute 'probed'"):
        _ = tessera_core.probed


def test_verbs_that_read_and_score_load_no_torch(repo):
    verbs = sorted(set(tessera_core.__all__) - {"load", "embed"})

    packages = imported_packages(repo, "-c", f"from tessera_core import {', '.join(verbs)}")

    assert packages & {"torch", "mlflow", "prefect", "dvc", "great_expectations"} == set()


def test_help_of_the_core_loads_no_heavy_library(repo):
    packages = imported_packages(repo, "-m", "tessera_core", "--help")

    assert packages & HEAVY == set()


def test_help_of_tessera_loads_no_heavy_library(repo):
    packages = imported_packages(repo, "-c", tessera_command(repo), "--help")

    assert packages & HEAVY == set()


def test_every_benchmark_finds_what_it_measures(repo):
    names = [f"tests.bench.{path.stem}" for path in sorted((repo / "tests/bench").glob("*.py"))]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import {', '.join(names)}"],
        cwd=repo, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr


def test_asking_whether_a_stage_has_anything_to_do_loads_no_heavy_library(repo):
    modules = "; ".join(f"import {stage.module}" for stage in STAGES.values())

    packages = imported_packages(repo, "-c", modules)

    assert packages & (HEAVY) == set()
