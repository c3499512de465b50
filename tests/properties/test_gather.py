"""Gathering: for all series, rows and orders, the compiled copy equals a loop over rows."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.padded import PaddedSeries
from tessera_core.feed.from_arrays import LENGTH_STEP, gather
from tessera_core.feed.from_files import fetch
from tessera_core.records.arrays import inspect_array, write_array
from tessera_core.testing.pixels import random_pixels
from tessera_core.testing.strategies import SEEDS, dpixels

SENSORS = ("optical", "ascending", "descending")


@st.composite
def pixels_and_rows(draw: st.DrawFn) -> tuple[DPixels, np.ndarray]:
    pixels = draw(dpixels())
    rows = draw(st.lists(st.integers(0, len(pixels) - 1), max_size=12)) if len(pixels) else []
    return pixels, np.array(rows, np.int64)


def padded_one_by_one(series: Series, rows: np.ndarray) -> PaddedSeries:
    lengths = [int(series.offsets[row + 1] - series.offsets[row]) for row in rows]
    longest = -(-max(lengths, default=0) // LENGTH_STEP) * LENGTH_STEP
    shape = (len(rows), longest)
    values = np.zeros((*shape, series.values.shape[1]), series.values.dtype)
    day_of_year, valid = np.zeros(shape, np.uint16), np.zeros(shape, np.bool_)
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        for time in range(length):
            at = int(series.offsets[row]) + time
            values[place, time] = series.values[at]
            day_of_year[place, time] = series.day_of_year[at]
            valid[place, time] = series.valid[at]
    return PaddedSeries(values=values, day_of_year=day_of_year, valid=valid)


def assert_equal(gathered: PaddedSeries, expected: PaddedSeries) -> None:
    for name in ("values", "day_of_year", "valid"):
        got, wanted = getattr(gathered, name), getattr(expected, name)
        assert got.dtype == wanted.dtype
        assert np.array_equal(got, wanted)


@given(pixels_and_rows())
def test_gathering_equals_copying_row_by_row(drawn):
    pixels, rows = drawn

    gathered = gather(pixels, rows)

    for sensor in SENSORS:
        expected = padded_one_by_one(getattr(pixels, sensor), rows)
        assert_equal(getattr(gathered, sensor), expected)


@settings(max_examples=30)
@given(pixels_and_rows())
def test_reading_from_files_equals_copying_from_memory(drawn):
    pixels, rows = drawn
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for sensor in SENSORS:
            for part in ("values", "day_of_year", "offsets", "valid"):
                path = Path(folder) / f"{sensor}.{part}.npy"
                write_array(path, getattr(getattr(pixels, sensor), part))
                files[f"{sensor}.{part}"] = inspect_array(path)

        fetched = fetch(files, rows)

    for sensor in SENSORS:
        assert_equal(getattr(fetched, sensor), getattr(gather(pixels, rows), sensor))


@given(num=st.integers(1, 400), num_rows=st.integers(0, 300), seed=SEEDS)
def test_padding_agrees_with_the_index_that_a_series_gives_itself(num, num_rows, seed):
    pixels = random_pixels(num, seed)
    rows = np.random.default_rng(seed).integers(0, num, num_rows)

    gathered = gather(pixels, rows).optical

    index, exists, valid = pixels.optical.padded(rows)
    longest = exists.shape[1]
    assert np.array_equal(gathered.valid[:, :longest], valid)
    assert np.array_equal(
        gathered.values[:, :longest][exists], pixels.optical.values[index[exists]]
    )
    assert not gathered.valid[:, longest:].any()
    assert not gathered.values[:, :longest][~exists].any()


def test_threads_that_gather_at_once_get_each_their_own_rows():
    pixels = random_pixels(300, seed=5)
    batches = [np.random.default_rng(i).integers(0, 300, 64) for i in range(40)]

    with ThreadPoolExecutor(8) as pool:
        gathered = list(pool.map(lambda rows: gather(pixels, rows), batches, timeout=60))

    for rows, batch in zip(batches, gathered, strict=True):
        for sensor in SENSORS:
            assert_equal(getattr(batch, sensor), padded_one_by_one(getattr(pixels, sensor), rows))
