"""A real checkout of this repository with a small cycle: everything runs, nothing is mocked."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

TIME_LIMIT_S = 600

# Just enough training for a first version to beat its untrained weights, so that it serves.
SMALL: dict[str, dict[str, object]] = {
    "simulate": {"width": 96, "height": 64},
    "ingest": {"tile_size": 48},
    "pretrain": {
        "num_steps": 48, "batch_size": 256, "view_lengths": [16], "model_dim": 64, "num_layers": 1,
        "feedforward_dim": 128, "projector_dim": 512, "log_every": 8, "probe_every": 48,
        "save_every": 12,
    },
    "evaluate": {
        "labels_per_class": [1, 5], "num_draws": 2, "num_bootstraps": 100, "num_trees": 20,
        "num_folds": 2, "max_pixels_per_field": 4, "tasks": ["crop_type", "canopy_height"],
    },
}  # fmt: skip

OTHER_SEED = ("--set", "pretrain.seed=99")
"""Settings of the second version."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def make_checkout(repo: Path, target: Path) -> Path:
    """Copy what git knows of the repository, make it small, and commit it there."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=repo, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (repo / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repo / name, target / name)
    params = yaml.safe_load((target / "params.yaml").read_text(encoding="utf-8"))
    for section, values in SMALL.items():
        params[section].update(values)
    (target / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    date = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "small cycle"]):
        subprocess.run(
            ["git", *command], cwd=target, check=True, timeout=60, env={**os.environ, **date}
        )
    return target


def environment_of(checkout: Path) -> dict[str, str]:
    """Return an environment in which a checkout's own code runs, on its own databases."""
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "MLFLOW_"))
    }
    bin_folder = Path(sys.executable).parent
    return {**others, "PATH": f"{bin_folder}:{others['PATH']}", "PYTHONPATH": str(checkout)}


def run_in(
    checkout: Path, *arguments: str, expect: int | None = 0
) -> "subprocess.CompletedProcess[str]":
    """Run Python with arguments in a checkout and compare its exit code; None allows any."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout, capture_output=True, text=True, timeout=TIME_LIMIT_S,
        env=environment_of(checkout),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert expect in (None, result.returncode), f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result


def tessera(
    checkout: Path, *arguments: str, expect: int | None = 0
) -> "subprocess.CompletedProcess[str]":
    """Run the ``tessera`` command in a checkout."""
    return run_in(checkout, "-m", "flows.cli.main", *arguments, expect=expect)


def dvc(checkout: Path, *arguments: str) -> str:
    """Run DVC in a checkout and return what it printed."""
    return run_in(checkout, "-m", "dvc", *arguments).stdout


def prepared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that all processes of this test session share, made by the first to ask."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock", timeout=2 * TIME_LIMIT_S):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


def copy_checkout(checkout: Path, target: Path) -> Path:
    """Return a copy of a checkout with all that it made."""
    return Path(shutil.copytree(checkout, target, symlinks=True))


def make_first(repo: Path, folder: Path) -> None:
    """Make a checkout and run the small cycle in it once."""
    make_checkout(repo, folder)
    result = tessera(folder, "retrain")
    (folder / "first-run.txt").write_text(result.stdout, encoding="utf-8")


def make_second(pristine: Path, folder: Path) -> None:
    """Copy a checkout and run the cycle again, with another seed, in its own workspace."""
    copy_checkout(pristine, folder)
    result = tessera(folder, "retrain", *OTHER_SEED)
    (folder / "second-run.txt").write_text(result.stdout, encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it that the tests of one module share."""
    target = tmp_path_factory.mktemp("cycle") / "checkout"
    return copy_checkout(pristine, target)


@pytest.fixture
def copied(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it for one test, to be changed at will."""
    return copy_checkout(pristine, tmp_path / "copied")
