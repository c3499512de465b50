"""Raw batches, gathered by threads while the device works on earlier ones."""

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from tessera_core.errors import TrainingError
from tessera_core.feed.reader import Feed
from tessera_core.pretrain.batches import rows_to_gather
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.ranks import Ranks
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.step_order import StepPlan, plan_step

AHEAD: Final = 2
"""Batches that each thread keeps ready, besides the one that it is gathering."""

STALLED_AFTER_S: Final = 300.0
"""A batch takes milliseconds; after minutes the disk or its server has gone away."""

POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """What one step starts from."""

    plan: StepPlan
    """Which d-pixels, which chance."""

    raw: RawPixels
    """Their observations, on the device."""


Ready = queue.Queue[Loaded | BaseException]


def load(
    feed: Feed,
    steps: range,
    config: PretrainConfig,
    ranks: Ranks,
    *,
    stalled_after_s: float = STALLED_AFTER_S,
) -> Generator[Loaded, None, None]:
    """Yield the raw batches of some steps in their order.

    Threads are enough: gathering is compiled code that lets others run meanwhile, and all of them
    read one memory mapping. Close the iterator to stop them.

    Args:
        feed: The train split.
        steps: Which steps.
        config: Settings; ``num_loaders`` threads, 0 gathers in the caller's.
        ranks: This process among all.
        stalled_after_s: Longest wait for one batch.

    Raises:
        TrainingError: A loader has not delivered for ``stalled_after_s``.
    """

    def gather(step: int) -> Loaded:
        planned = plan_step(step, len(feed.pixels), config)
        raw = RawPixels.from_padded(feed.gather(rows_to_gather(planned, ranks)))
        if ranks.device.type == "cuda":
            raw = raw.pin()
        return Loaded(plan=planned, raw=raw)

    gathered: Generator[Loaded, None, None] = (gather(step) for step in steps)
    if config.num_loaders:
        gathered = _gather_ahead(gather, steps, config.num_loaders, stalled_after_s)
    with closing(gathered):
        for loaded in gathered:
            yield Loaded(plan=loaded.plan, raw=loaded.raw.to(ranks.device))


def _gather_ahead(
    gather: Callable[[int], Loaded], steps: range, num_loaders: int, stalled_after_s: float
) -> Generator[Loaded, None, None]:
    """Yield what ``gather`` returns for each step; thread n works on every num_loaders-th."""
    stop = threading.Event()
    ready: list[Ready] = [queue.Queue(maxsize=AHEAD) for _ in range(num_loaders)]
    threads = [
        # Daemons, so that one that hangs in a dead file system does not keep the process alive.
        threading.Thread(
            target=_deliver,
            args=(gather, steps[number::num_loaders], ready[number], stop),
            name=f"loader-{number}",
            daemon=True,
        )
        for number in range(num_loaders)
    ]
    for thread in threads:
        thread.start()
    try:
        for index, step in enumerate(steps):
            try:
                item = ready[index % num_loaders].get(timeout=stalled_after_s)
            except queue.Empty:
                raise TrainingError(
                    f"loader-{index % num_loaders} has not delivered the batch of step {step} for "
                    f"{stalled_after_s:g} s; is the disk with the feed cache still there? "
                    "Training goes on from its checkpoint when started again"
                ) from None
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=AHEAD * POLL_S)


def _deliver(
    gather: Callable[[int], Loaded], steps: range, ready: Ready, stop: threading.Event
) -> None:
    """Put the batch of each step into a queue, or the error that ended it."""
    for step in steps:
        item: Loaded | BaseException
        try:
            item = gather(step)
        except BaseException as error:  # raised again where the batch is waited for
            item = error
        while not stop.is_set():
            try:
                ready.put(item, timeout=POLL_S)
                break
            except queue.Full:
                continue
        if stop.is_set() or isinstance(item, BaseException):
            return
