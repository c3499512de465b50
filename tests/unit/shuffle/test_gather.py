"""Gathering: what is refused, what the GIL does meanwhile, and where machine code is kept."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tessera_core.domain.dpixel import DPixels
from tessera_core.errors import RecordError
from tessera_core.feed.from_arrays import gather
from tessera_core.testing.pixels import make_pixels, random_pixels

PIXELS = make_pixels([5, 9, 1], [4, 0, 0], [0, 0, 0], seed=2)


@pytest.mark.parametrize(
    ("rows", "range_asked_for"), [([0, 3], "0 to 3"), ([-1, 2], "-1 to 2"), ([2**62], str(2**62))]
)
def test_rows_that_do_not_exist_are_refused(rows, range_asked_for):
    with pytest.raises(
        RecordError, match=rf"rows {range_asked_for}.* were asked for, expected 0 to 2: there are 3"
    ):
        gather(PIXELS, np.array(rows, np.int64))


@pytest.mark.parametrize("rows", [np.array([0], np.int32), np.zeros((1, 1), np.int64)])
def test_rows_of_another_type_are_refused(rows):
    with pytest.raises(RecordError, match=r"rows are int(32|64) .*, expected int64 \(B,\)"):
        gather(PIXELS, rows)


def test_series_are_as_long_as_the_longest_of_the_batch_rounded_up_to_eight():
    lengths = [gather(PIXELS, np.array(rows)).optical.valid.shape[1] for rows in ([2], [0], [1, 2])]

    assert lengths == [8, 8, 16]


def test_a_sensor_that_observed_nothing_has_length_0():
    batch = gather(PIXELS, np.array([1, 2]))

    assert batch.ascending.values.shape == (2, 0, 2)
    assert batch.descending.valid.shape == (2, 0)


def test_a_batch_of_no_rows_is_empty():
    batch = gather(PIXELS, np.zeros(0, np.int64))

    assert batch.optical.values.shape == (0, 0, 10)


def test_a_batch_belongs_to_its_caller():
    batch = gather(PIXELS, np.array([0]))

    batch.optical.values[:] = 0

    assert PIXELS.optical.values[:5].all()


def test_values_that_would_have_to_be_copied_whole_are_refused():
    optical = PIXELS.optical
    turned = type(optical)(
        values=np.asfortranarray(optical.values),
        day_of_year=optical.day_of_year,
        offsets=optical.offsets,
        valid=optical.valid,
    )
    pixels = DPixels(optical=turned, ascending=PIXELS.ascending, descending=PIXELS.descending)

    with pytest.raises(ValueError, match="copy"):
        gather(pixels, np.array([0]))


def test_another_thread_runs_while_a_batch_is_copied():
    pixels = random_pixels(500, seed=1)
    rows = np.random.default_rng(0).integers(0, 500, 40_000)
    gather(pixels, rows[:1])
    done, turns = threading.Event(), [0]

    def take_turns():
        while not done.wait(0.0002):
            turns[0] += 1

    interval = sys.getswitchinterval()
    other = threading.Thread(target=take_turns)
    other.start()
    # Longer than the copying: the other thread gets a turn by a free GIL, not by the clock.
    sys.setswitchinterval(2)
    try:
        before = turns[0]
        gather(pixels, rows)
        after = turns[0]
    finally:
        sys.setswitchinterval(interval)
        done.set()
        other.join(timeout=60)

    assert after > before


GATHER = """
import sys
import numpy as np
from tessera_core.feed.from_arrays import gather
import tessera_core.feed.reader
assert "numba" not in sys.modules
from tessera_core.testing.pixels import random_pixels
print(gather(random_pixels(5, seed=1), np.array([3, 1])).optical.valid.sum(axis=1).tolist())
"""


@pytest.mark.slow
def test_without_a_folder_for_machine_code_a_process_compiles_anew(repo):
    # The one place that numba may look at is a ZIP archive, so it has nowhere to write to; the same
    # happens where neither the package nor the home folder can be written to.
    nowhere = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "ZipCacheLocator"}

    run = subprocess.run(
        [sys.executable, "-c", GATHER],
        cwd=repo,
        env=nowhere,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert run.returncode == 0, run.stderr
    expected = gather(random_pixels(5, seed=1), np.array([3, 1])).optical.valid.sum(axis=1)
    assert run.stdout == f"{expected.tolist()}\n"
