"""Loading ahead: the order of steps, equal batches, errors, stalls, and an end to all threads."""

import threading
import time
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.padded import PaddedPixels
from tessera_core.errors import RecordError, TrainingError
from tessera_core.pretrain.loader import AHEAD, load
from tessera_core.pretrain.ranks import Ranks, alone
from tessera_core.pretrain.step_order import plan_step
from tessera_core.testing.models import tiny_settings
from tessera_core.testing.pixels import as_feed, random_pixels

PIXELS = random_pixels(60, seed=44)
FEED = as_feed(PIXELS)
PATIENCE_S = 20.0


@dataclass(slots=True, kw_only=True)
class Gate:
    """A feed that counts what is gathered, and waits or fails at one step's d-pixels."""

    closed_for: frozenset[int] = frozenset()
    """D-pixels at which it waits until opened."""

    broken_for: frozenset[int] = frozenset()
    """D-pixels at which it fails."""

    opened: threading.Event = field(default_factory=threading.Event)
    num_gathered: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pixels(self) -> DPixels:
        return PIXELS

    def gather(self, rows: np.ndarray) -> PaddedPixels:
        if self.closed_for == set(rows.tolist()):
            self.opened.wait(PATIENCE_S)
        if self.broken_for == set(rows.tolist()):
            raise RecordError("values.npy is gone")
        with self._lock:
            self.num_gathered += 1
        return FEED.gather(rows)


def settings(num_loaders):
    return tiny_settings(num_loaders=num_loaders)


def rows_at(step):
    return frozenset(plan_step(step, 60, settings(0)).rows_B.tolist())


def loaders_alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader-")]


def wait_until(condition):
    """Wait for something that other threads do; fails where it takes too long."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Gather once: the first time takes as long as a stall does here."""
    FEED.gather(np.arange(1))


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    wait_until(lambda: not loaders_alive())


def take_all(loader, seen):
    """Note the step of every batch, and trip over step 5 where there is one."""
    for loaded in loader:
        assert loaded.plan.step != 5, "tripped"
        seen.append(loaded.plan.step)


def tensors(raw):
    sensors = (raw.optical, raw.ascending, raw.descending)
    return [part for one in sensors for part in (one.values, one.day_of_year, one.valid)]


@pytest.mark.parametrize("num_loaders", [0, 1, 2, 3])
@pytest.mark.parametrize("steps", [range(0), range(5, 6), range(3, 14)], ids=str)
def test_steps_come_in_their_order_whatever_the_number_of_threads(num_loaders, steps):
    found = [loaded.plan.step for loaded in load(FEED, steps, settings(num_loaders), alone())]

    assert found == list(steps)


@pytest.mark.parametrize("num_loaders", [1, 2, 3])
def test_batches_are_equal_whatever_the_number_of_threads(num_loaders):
    plain = list(load(FEED, range(7), settings(0), alone()))

    ahead = list(load(FEED, range(7), settings(num_loaders), alone()))

    for one, other in zip(plain, ahead, strict=True):
        assert one.plan.rows_B.tolist() == other.plan.rows_B.tolist()
        assert one.plan.key == other.plan.key
        pairs = zip(tensors(one.raw), tensors(other.raw), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def test_a_rank_loads_its_own_part_and_the_partners():
    ranks = Ranks(rank=1, size=4, device=torch.device("cpu"))

    (loaded,) = load(FEED, range(1), tiny_settings(num_loaders=1, num_ranks=4), ranks)

    assert len(loaded.plan.rows_B) == 16
    assert len(loaded.raw) == 8


def test_gathering_goes_on_while_a_batch_is_worked_on():
    feed = Gate()
    with closing(load(feed, range(20), settings(1), alone())) as loader:
        next(loader)

        wait_until(lambda: feed.num_gathered > 1)


@pytest.mark.parametrize("num_loaders", [1, 2, 3])
def test_no_thread_runs_further_ahead_than_its_queue_and_the_batch_in_its_hands(num_loaders):
    feed, most = Gate(), (AHEAD + 1) * num_loaders
    with closing(load(feed, range(60), settings(num_loaders), alone())) as loader:
        for taken in range(1, 4):
            next(loader)
            wait_until(lambda bound=taken + most: feed.num_gathered >= bound)

            # Long enough for a batch that should not be gathered, which takes a millisecond.
            time.sleep(0.03)
            assert feed.num_gathered == taken + most


@pytest.mark.parametrize("num_loaders", [0, 1, 3])
def test_an_error_of_gathering_is_raised_at_its_step_after_the_steps_before(num_loaders):
    feed, seen = Gate(broken_for=rows_at(2)), []

    with pytest.raises(RecordError, match=r"values\.npy is gone"):
        take_all(load(feed, range(9), settings(num_loaders), alone()), seen)

    assert seen == [0, 1]


def test_a_loader_that_stalls_is_named_with_its_step_and_the_others_stop():
    feed, seen = Gate(closed_for=rows_at(2)), []

    loader = load(feed, range(9), settings(2), alone(), stalled_after_s=0.5)
    with pytest.raises(TrainingError, match=r"loader-0 has not .* of step 2 for 0\.5 s; .*disk"):
        take_all(loader, seen)
    stuck = [thread.name for thread in loaders_alive()]
    feed.opened.set()

    assert seen == [0, 1]
    assert stuck == ["loader-0"]


def test_a_stalled_loader_does_not_keep_the_process_alive():
    with closing(load(FEED, range(60), settings(2), alone())) as loader:
        next(loader)

        assert len(loaders_alive()) == 2
        assert all(thread.daemon for thread in loaders_alive())


@pytest.mark.parametrize("num_taken", [0, 1, 5])
def test_closing_stops_all_threads(num_taken):
    loader = load(FEED, range(1000), settings(3), alone())
    for _ in range(num_taken):
        next(loader)

    loader.close()

    assert loaders_alive() == []


def test_an_error_of_the_consumer_stops_all_threads():
    seen = []

    with (
        closing(load(FEED, range(1000), settings(2), alone())) as loader,
        pytest.raises(AssertionError, match="tripped"),
    ):
        take_all(loader, seen)

    assert seen == [0, 1, 2, 3, 4]
    assert loaders_alive() == []


@pytest.mark.skipif(torch.xpu.is_available(), reason="the device would be there")
def test_a_device_that_cannot_take_a_batch_stops_all_threads():
    absent = Ranks(rank=0, size=1, device=torch.device("xpu"))

    # The error is held, and with it the frame that it came from.
    with pytest.raises((RuntimeError, AssertionError)) as held:
        next(load(FEED, range(1000), settings(2), absent))

    assert loaders_alive() == [], held.value


def test_threads_end_by_themselves_after_the_last_step():
    loader = load(FEED, range(4), settings(2), alone())

    for _ in range(4):
        next(loader)

    wait_until(lambda: not loaders_alive())
