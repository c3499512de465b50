"""D-pixels: vectorised gathering equals picking them one by one in Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.domain.dpixel import DPixels, concatenate
from tessera_core.testing.observations import observations_of, pixels_as_lists
from tessera_core.testing.strategies import dpixels


@st.composite
def pixels_and_rows(draw: st.DrawFn) -> tuple[DPixels, list[int]]:
    pixels = draw(dpixels(min_pixels=1))
    return pixels, draw(st.lists(st.integers(0, len(pixels) - 1), max_size=9))


@given(pixels_and_rows())
def test_taking_equals_picking_one_by_one(drawn):
    pixels, rows = drawn
    lists = pixels_as_lists(pixels)

    taken = pixels.take(np.array(rows, np.int64))

    assert pixels_as_lists(taken) == [lists[row] for row in rows]


@given(st.lists(dpixels(), min_size=1, max_size=4))
def test_concatenating_equals_joining_lists(parts):
    joined = concatenate(parts)

    assert pixels_as_lists(joined) == [pixel for part in parts for pixel in pixels_as_lists(part)]


@given(st.lists(dpixels(), min_size=1, max_size=4))
def test_every_part_can_be_taken_out_of_the_whole_again(parts):
    joined = concatenate(parts)
    ends = np.cumsum([0, *(len(part) for part in parts)])

    for part, first, last in zip(parts, ends[:-1], ends[1:], strict=True):
        assert pixels_as_lists(joined.take(np.arange(first, last))) == pixels_as_lists(part)


@given(dpixels())
def test_a_permutation_and_its_inverse_give_the_same_bytes(pixels):
    order = np.random.default_rng(len(pixels)).permutation(len(pixels))

    back = pixels.take(order).take(np.argsort(order))

    for sensor in ("optical", "ascending", "descending"):
        before, after = getattr(pixels, sensor), getattr(back, sensor)
        for name in ("values", "day_of_year", "offsets", "valid"):
            assert np.array_equal(getattr(before, name), getattr(after, name))
            assert getattr(before, name).dtype == getattr(after, name).dtype


@given(pixels_and_rows())
def test_padding_equals_the_lists_filled_up(drawn):
    pixels, rows = drawn
    lists = observations_of(pixels.optical)

    index, exists, valid = pixels.optical.padded(np.array(rows, np.int64))

    longest = max((len(lists[row]) for row in rows), default=0)
    assert index.shape == (len(rows), longest)
    for place, row in enumerate(rows):
        days = pixels.optical.day_of_year[index[place][exists[place]]].tolist()
        assert days == [day for day, _, _ in lists[row]]
        lacking = longest - len(lists[row])
        assert valid[place].tolist() == [flag for *_, flag in lists[row]] + [False] * lacking


@given(dpixels())
def test_valid_observations_are_counted_one_by_one(pixels):
    counted = [sum(flag for *_, flag in pixel) for pixel in observations_of(pixels.ascending)]

    assert pixels.ascending.num_valid().tolist() == counted
