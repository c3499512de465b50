"""What need not wait: scenes while Prefect starts, baselines while a model trains."""

import contextlib
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from flows.console import HEARTBEAT_S, say
from flows.context import Context
from tessera_core.config import PlatformConfig
from tessera_core.errors import TesseraError
from tessera_core.records.locks import one_at_a_time
from tessera_core.records.paths import Paths
from tessera_core.stages import reuse_stage

LOW_PRIORITY: Final = 10
"""Added to a process's niceness, so that it takes what the training leaves of the cores."""

END_S: Final = 2.0
"""Seconds that a process is given to clean up before it is killed; a fit in C hears nothing."""


@contextmanager
def scenes_meanwhile(context: Context) -> Iterator[None]:
    """Simulate the embedded default's scenes in a process of its own while the block begins.

    Whoever needs them in the block asks ``ensure_scenes``, which waits for that process.
    """
    config, root = context.config.simulate, context.paths.root
    if not _is_simulated(context) or (root / config.path).exists():
        yield
        return
    with _process(_simulate, context):
        yield


def ensure_scenes(context: Context) -> None:
    """Write the embedded default's scenes where the settings point at them and they are not there.

    One process of a checkout does so at a time; whoever comes second finds them.
    """
    if _is_simulated(context):
        from tessera_core.simulate import simulate

        with one_at_a_time(scenes_lock(context.paths.root), silent_s=HEARTBEAT_S):
            catalogue = simulate(context.config.simulate, context.paths.root)
        say(f"scenes    simulated in {catalogue.parent.relative_to(context.paths.root)}")


@contextmanager
def baselines_meanwhile(context: Context) -> Iterator[None]:
    """Fit the baselines of the evaluation in a process of its own while the block trains a model.

    It is ended with the block: what it has not answered by then, the evaluation asks itself, with
    all cores. What it cannot do, as read a task's data, the evaluation says.
    """
    if not _is_worthwhile(context):
        yield
        return
    with _process(_fit, context):
        yield


@contextmanager
def _process(
    work: Callable[[PlatformConfig, Paths, int], None], context: Context
) -> Iterator[None]:
    """Run something in a process of its own, which ends with the block at the latest."""
    process = multiprocessing.get_context("spawn").Process(
        target=work, args=(context.config, context.paths, os.getpid()), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join(END_S)
        process.kill()
        process.join()


def _is_simulated(context: Context) -> bool:
    config = context.config
    return config.ingest.source == "stac" and config.ingest.path == config.simulate.path


def _simulate(config: PlatformConfig, paths: Paths, parent: int) -> None:
    """Simulate the scenes; what is wrong with their settings, ``ensure_scenes`` says."""
    from tessera_core.simulate import simulate

    _end_when_told()
    with suppress(TesseraError), one_at_a_time(scenes_lock(paths.root)):
        simulate(config.simulate, paths.root)


def _end_when_told() -> None:
    """Leave Ctrl-C to the process that waits, and clean up when that one ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def scenes_lock(root: Path) -> Path:
    """Return the file that is locked while scenes are simulated."""
    return root / "data" / ".scenes.lock"


def _is_worthwhile(context: Context) -> bool:
    """Return whether there is a training, a second core, and memory for both."""
    from tessera_core.evaluate.ahead import is_worthwhile

    if len(os.sched_getaffinity(0)) == 1:
        return False
    with suppress(TesseraError):  # the training says what is missing
        is_trained = reuse_stage("pretrain", context.config, context.paths) is not None
        return not is_trained and is_worthwhile(context.config, context.paths)
    return False


def _fit(config: PlatformConfig, paths: Paths, parent: int) -> None:
    """Fit baselines until all are, or nobody waits for them any more."""
    from tessera_core.evaluate.ahead import fit_baselines, untrained_model
    from tessera_core.pretrain.probe import use_one_blas_thread

    def one_by_one(name: str, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        answers = []
        for item in items:
            if os.getppid() != parent:
                raise SystemExit
            answers.append(function(item))
        return answers

    _end_when_told()
    os.nice(LOW_PRIORITY)
    use_one_blas_thread()
    # One progress bar is enough: without a terminal there are none here.
    with contextlib.redirect_stderr(io.StringIO()), suppress(TesseraError):
        fit_baselines(untrained_model(config, paths), config, paths, one_by_one)
