"""D-pixels: ragged series stored end to end, checked when made and gathered without loss."""

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.domain.dpixel import (
    DPixels,
    Series,
    concatenate,
    optical_series,
    radar_series,
)
from tessera_core.domain.scl import SceneClass
from tessera_core.errors import RecordError
from tessera_core.testing.observations import observations_of
from tessera_core.testing.pixels import make_pixels

DAYS = np.array([5, 40, 41, 200, 7, 366], np.uint16)
OFFSETS = np.array([0, 4, 4, 6], np.int64)
"""Three d-pixels with four, no and two observations."""


def series(**changes) -> Series:
    parts = {
        "values": np.arange(12, dtype=np.int16).reshape(6, 2),
        "day_of_year": DAYS,
        "offsets": OFFSETS,
        "valid": np.array([True, False, True, True, False, False]),
    }
    return Series(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"day_of_year": DAYS[:5]}, "6 values, 5 days and 6 validity flags; expected equal"),
        ({"valid": np.ones(7, np.bool_)}, "6 values, 6 days and 7 validity flags"),
        ({"offsets": np.array([0, 4, 5])}, "offsets must run from 0 to 6"),
        ({"offsets": np.array([1, 4, 6])}, "offsets must run from 0 to 6"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets must run from 0 to 6"),
        ({"offsets": np.array([0, 5, 4, 6])}, "offsets must run from 0 to 6, .* without falling"),
    ],
)
def test_flat_arrays_that_disagree_are_refused(changes, message):
    with pytest.raises(RecordError, match=message):
        series(**changes)


def test_a_series_counts_its_pixels_and_their_valid_observations():
    assert len(series()) == 3
    assert series().num_valid().tolist() == [3, 0, 0]


def test_padding_fills_up_to_the_longest_and_is_never_valid():
    index, exists, valid = series().padded(np.array([2, 0]))

    assert index.tolist() == [[4, 5, 0, 0], [0, 1, 2, 3]]
    assert exists.tolist() == [[True, True, False, False], [True, True, True, True]]
    assert valid.tolist() == [[False, False, False, False], [True, False, True, True]]


def test_pixels_without_any_observation_pad_to_nothing():
    index, exists, valid = series().padded(np.array([1, 1]))

    assert index.shape == exists.shape == valid.shape == (2, 0)


def test_taking_keeps_the_order_asked_for_and_may_repeat():
    lists = observations_of(series())

    taken = series().take(np.array([2, 0, 2]))

    assert observations_of(taken) == [lists[2], lists[0], lists[2]]
    assert taken.values.dtype == np.int16


@pytest.mark.parametrize("rows", [[], [1], [1, 1]])
def test_taking_nothing_or_pixels_without_observations_gives_an_empty_series(rows):
    taken = series().take(np.array(rows, np.int64))

    assert observations_of(taken) == [[] for _ in rows]
    assert taken.values.shape == (0, 2)


def test_a_set_that_no_orbit_ever_saw_is_still_a_set():
    pixels = make_pixels([2, 3], [0, 0], [0, 0], seed=1)

    assert len(pixels.take(np.array([1]))) == 1
    assert pixels.ascending.num_valid().tolist() == [0, 0]
    assert pixels.ascending.padded(np.array([0, 1]))[1].shape == (2, 0)


def test_all_sensors_describe_the_same_pixels():
    one, two = make_pixels([2], [1], [1], seed=1), make_pixels([2, 2], [1, 1], [1, 1], seed=1)

    with pytest.raises(RecordError, match=r"series hold \(1, 2, 1\) d-pixels; expected equal"):
        DPixels(optical=one.optical, ascending=two.ascending, descending=one.descending)


def test_concatenating_shifts_the_offsets():
    joined = concatenate(
        [make_pixels([2, 0], [1, 1], [0, 3], seed=1), make_pixels([4], [0], [2], seed=2)]
    )

    assert joined.optical.offsets.tolist() == [0, 2, 2, 6]
    assert joined.ascending.offsets.tolist() == [0, 1, 2, 2]
    assert joined.descending.offsets.tolist() == [0, 0, 3, 5]


def test_optical_validity_follows_from_the_scene_class():
    scl = np.array([SceneClass.WATER, SceneClass.CLOUD_HIGH, SceneClass.SNOW], np.uint8)

    optical = optical_series(
        np.ones((3, 10), np.uint16), scl, np.array([1, 2, 3], np.uint16), np.array([0, 3])
    )

    assert optical.valid.tolist() == [True, False, True]


def test_radar_validity_is_taken_from_stored_values_and_not_after_normalisation():
    # A stored 0 is missing; a normalised 0 would be the mean.
    values = np.array([[0, 0], [0, 9], [9, 0]], np.int16)

    radar = radar_series(values, np.array([1, 2, 3], np.uint16), np.array([0, 3]))

    assert radar.valid.tolist() == [False, True, True]


def test_a_memory_mapped_series_is_gathered_like_any_other(tmp_path):
    np.save(tmp_path / "values.npy", series().values)
    mapped = replace(series(), values=np.load(tmp_path / "values.npy", mmap_mode="r"))

    assert observations_of(mapped.take(np.array([2]))) == observations_of(
        series().take(np.array([2]))
    )
