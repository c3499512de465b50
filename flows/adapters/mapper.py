"""Fan-out: over tiles as Prefect mapped tasks, over small models as processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import task, unmapped

from tessera_core.errors import RemoteError, StorageError, TesseraError
from tessera_core.ports import Mapper, map_serially
from tessera_core.pretrain.probe import use_one_blas_thread
from tessera_core.records.faults import machine_fault

TILE_RETRIES = 2
TILE_RETRY_DELAYS_S = [5.0, 30.0]
TILE_TIMEOUT_S = 1800

MAX_PROCESSES = 8
"""A task has about ten models, of which two or three take most of the time."""


def map_as_tasks(name: str, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Run a function over items, each as its own task run with retries and a timeout."""
    mapped = task(
        name=name,
        task_run_name=name + "/{label}",
        retries=TILE_RETRIES,
        retry_delay_seconds=TILE_RETRY_DELAYS_S,
        retry_condition_fn=is_worth_a_retry,
        timeout_seconds=TILE_TIMEOUT_S,
        persist_result=False,
    )(_call)
    listed = list(items)
    labels = [_label(item) for item in listed]
    # The work travels in a closure: Prefect would otherwise walk through every argument.
    work = [lambda item=item: function(item) for item in listed]
    futures = mapped.map(labels, unmapped(dict(zip(labels, work, strict=True))))
    return [future.result() for future in futures]


@contextmanager
def processes() -> Iterator[Mapper]:
    """Yield a mapper over one pool of processes, which start when first asked and end here.

    On one core everything runs in this process, with the same results. Processes are spawned:
    a copy of one whose torch has started threads would wait for them forever.
    """
    num_processes = min(len(os.sched_getaffinity(0)), MAX_PROCESSES)
    if num_processes == 1:
        yield map_serially
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, use_one_blas_thread) as pool:

        def map_in_processes(
            name: str, function: Callable[[Any], Any], items: Iterable[Any]
        ) -> list[Any]:
            from tqdm import tqdm

            futures = [pool.submit(function, item) for item in items]
            return [each.result() for each in tqdm(futures, desc=name, leave=False, disable=None)]

        yield map_in_processes


def is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Return False for errors that would come again: bad input, closed gates, a full disk."""
    try:
        state.result()
    except TesseraError as error:
        return isinstance(error, RemoteError)
    except Exception as error:  # whatever else went wrong may pass
        return not isinstance(machine_fault(error, Path.cwd()), StorageError)
    return True


def _call(label: str, work: dict[str, Callable[[], Any]]) -> Any:
    return work[label]()


def _label(item: Any) -> str:
    """Return a short unique name of a tile, or of the folder that holds it."""
    name = getattr(item, "name", str(item))
    year = getattr(item, "year", None)
    if year is not None:
        return f"{name}-{year}"
    parent = getattr(item, "parent", None)
    return f"{parent.name}-{name}" if parent is not None else str(name)
