"""Registrations to be killed: ``python killable_register.py FOLDER``.

Makes a world in which a better model waits to be registered, on MLflow in SQLite, and registers it
in copies of that world: once undisturbed, then killed with SIGKILL before its first step, before
its second, and so on, each time run again to the end. A step is a call to MLflow that writes, or a
file or folder that arrives in the checkout. Every run is a process of its own, forked from this
one, which has all imports and no database open.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mlflow import MlflowClient

from flows.adapters.registry import MlflowRegistry
from flows.adapters.tracking import open_run
from flows.settings import Settings
from tessera_core.config import PlatformConfig
from tessera_core.ports import NullTracker, Ports, map_serially
from tessera_core.records.paths import Paths
from tessera_core.stages import run_stage
from tests.unit.register.built import Workshop

REPO = Path(__file__).resolve().parents[2]
NAME = "tessera"
CALLS = (
    "create_registered_model", "create_model_version", "set_model_version_tag",
    "set_registered_model_alias", "delete_registered_model_alias",
)  # fmt: skip
UNDISTURBED = "undisturbed"


def settings_of(root: Path) -> Settings:
    """Return where a world's MLflow is."""
    return Settings().model_copy(
        update={
            "mlflow_tracking_uri": f"sqlite:///{root / 'mlflow.db'}",
            "mlflow_artifacts": (root / "artifacts").as_uri(),
        }
    )


def register(root: Path, last: int = 0) -> None:
    """Register what is in the workspace, as the task does; end before a step, 0 never."""
    checkout = root / "checkout"
    paths, settings = Paths(root=checkout, workspace=checkout), settings_of(root)
    with open_run(settings, "key", "run") as tracker, killed_before(last, checkout):
        registry = MlflowRegistry(settings, NAME, tracker.run_id)
        ports = Ports(
            tracker=NullTracker(), registry=registry, mapper=map_serially, data_versions={}
        )
        run_stage("register", PlatformConfig.read(REPO / "params.yaml"), paths, ports)


@contextmanager
def killed_before(last: int, checkout: Path) -> Iterator[None]:
    """Count the steps of a block, write each into a file beside the checkout, and end at one."""
    steps = count(1)

    def counted(function: Callable[..., Any], name: str, is_file: bool) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            if not is_file or Path(arguments[1]).is_relative_to(checkout):
                with (checkout.parent / "steps").open("a") as file:
                    file.write(f"{name} {Path(arguments[1]).name if is_file else ''}\n")
                if next(steps) == last:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return step

    places: list[tuple[Any, str, bool]] = [(MlflowClient, name, False) for name in CALLS]
    places += [(os, "replace", True), (os, "rename", True)]
    patches = [
        patch.object(owner, name, counted(getattr(owner, name), name, is_file))
        for owner, name, is_file in places
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def prepare(root: Path) -> None:
    """Register a first model, and put a better one into the workspace."""
    workshop = Workshop(root=root, config=PlatformConfig.read(REPO / "params.yaml"))
    workshop.train(seed=1)
    workshop.evaluate(accuracy=0.7)
    register(root)
    registry: Any = MlflowRegistry(settings_of(root), NAME, run_id="")
    workshop.registry = registry
    workshop.train(seed=2)
    workshop.evaluate(accuracy=0.95)
    workshop.compare()


def in_a_process(work: Callable[..., None], *arguments: Any) -> bool:
    """Run a function in a process of its own; False where it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work(*arguments)
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    if os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL:
        return False
    assert os.waitstatus_to_exitcode(ended) == 0, "a registration failed"
    return True


def main(folder: Path) -> None:
    """Make the worlds, one per kill."""
    torch.set_num_threads(1)
    waiting = folder / "waiting"
    waiting.mkdir()
    assert in_a_process(prepare, waiting)
    (waiting / "steps").unlink()
    shutil.copytree(waiting, folder / UNDISTURBED)
    assert in_a_process(register, folder / UNDISTURBED)
    for number in count(1):
        world = folder / f"killed-{number:02d}"
        shutil.copytree(waiting, world)
        if in_a_process(register, world, number):
            shutil.rmtree(world)  # there are not so many steps
            return
        assert in_a_process(register, world)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
