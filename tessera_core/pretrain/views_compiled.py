"""The two-view sampler in compiled loops, for the processor: the same bits as ``views_plain``.

Importing this module loads numba, so callers import it where they first draw. The loops hold no
GIL and run on the thread that calls them.

Shapes: V views (2), B d-pixels, T observations (padded), K observations drawn, C bands.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.compiled import compiled
from tessera_core.domain.norms import EPSILON, BandStats
from tessera_core.pretrain import chance
from tessera_core.pretrain.chance import FIRST_REPEAT, Stream

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.uint32]
Arrays = tuple[npt.NDArray[Any], npt.NDArray[np.uint16], npt.NDArray[np.bool_]]
"""Values (B, T * C), days (B, T) and validity (B, T) of one sensor, in C order."""

FIRST_SHIFT: Final = np.uint32(chance.FIRST_SHIFT)
SECOND_SHIFT: Final = np.uint32(chance.SECOND_SHIFT)
THIRD_SHIFT: Final = np.uint32(chance.THIRD_SHIFT)
FIRST_FACTOR: Final = np.uint32(chance.FIRST_FACTOR)
SECOND_FACTOR: Final = np.uint32(chance.SECOND_FACTOR)
STRIDE: Final = np.uint32(chance.STRIDE)
FIRST_S2, FIRST_S1 = int(Stream.FIRST_S2), int(Stream.FIRST_S1)
DEAL_S2, DEAL_S1 = int(Stream.DEAL_S2), int(Stream.DEAL_S1)
FIRST_HIDDEN: Final = int(Stream.FIRST_HIDDEN)
NUM_NUMBERS: Final = 1 << 32
HALVE_EVERY: Final = 4


@lru_cache(maxsize=64)
def scale_rows(stats: BandStats, num_times: int) -> Floats:
    """Return mean and divisor of every value of T observations, (2, T * C); kept, not to change."""
    divisor = np.array(stats.std, np.float32) + np.float32(EPSILON)
    return np.tile(np.array([stats.mean, divisor], np.float32), num_times)


@compiled
def fill_views(
    sources: tuple[Arrays, Arrays, Arrays],
    scales: tuple[Floats, Floats, Floats],
    position_B: npt.NDArray[np.int64],
    words: Numbers,
    is_disjoint: bool,
    num_hidden: int,
    s2: Floats,
    s1: Floats,
) -> int:
    """Fill tokens (2, B, K, 11) and (2, B, K, 3).

    Args:
        sources: Sentinel-2, Sentinel-1 ascending, Sentinel-1 descending.
        scales: ``scale_rows`` of each of them.
        position_B: Place in the global batch.
        words: (8, 2), ``stream_words``.
        is_disjoint: Whether the views share no observation.
        num_hidden: Of 2^32 random numbers, those that hide a sensor.
        s2: Written.
        s1: Written.

    Returns:
        Number of S2 places at which both views hold the same observation.
    """
    optical, ascending, descending = sources
    num_s2, num_ascending = optical[1].shape[1], ascending[1].shape[1]
    num_s1 = num_ascending + descending[1].shape[1]
    longest = max(num_s2, num_s1, s2.shape[2], s1.shape[2]) + 1
    s2_values, s2_days = np.empty(num_s2 * NUM_S2, np.float32), np.empty(num_s2, np.float32)
    s1_values, s1_days = np.empty(num_s1 * NUM_S1, np.float32), np.empty(num_s1, np.float32)
    usable = np.empty((4, longest), np.int32)
    held = np.empty((4, longest), np.int32)
    numbers = np.empty(longest, np.uint32)
    num_same = 0
    for pixel in range(len(position_B)):
        position = np.uint32(position_B[pixel])
        _normalise(optical, pixel, scales[0], s2_values, s2_days, 0)
        _normalise(ascending, pixel, scales[1], s1_values, s1_days, 0)
        _normalise(descending, pixel, scales[2], s1_values, s1_days, num_ascending)
        valid_s2 = _collect(optical[2], pixel, usable[0], 0, 0)
        valid_s1 = _collect(ascending[2], pixel, usable[2], 0, 0)
        valid_s1 = _collect(descending[2], pixel, usable[2], valid_s1, num_ascending)
        nums_s2, nums_s1 = (valid_s2, valid_s2), (valid_s1, valid_s1)
        if is_disjoint:
            state = _state(position, words, DEAL_S2)
            nums_s2 = _deal(usable[0], usable[1], valid_s2, state, numbers, held[0])
            state = _state(position, words, DEAL_S1)
            nums_s1 = _deal(usable[2], usable[3], valid_s1, state, numbers, held[2])
        sees_both = True
        for view in range(2):
            is_hit, hides_radar = _hides(_state(position, words, FIRST_HIDDEN + view), num_hidden)
            sees_s2 = valid_s2 > 0 and not (is_hit and not hides_radar and valid_s1 > 0)
            sees_s1 = valid_s1 > 0 and not (is_hit and hides_radar and valid_s2 > 0)
            sees_both = sees_both and sees_s2
            source = view if is_disjoint else 0
            if sees_s2:
                state = _state(position, words, FIRST_S2 + view)
                _draw(usable[source], nums_s2[view], state, s2.shape[2], numbers, held[view])
                _write_s2(s2_values, s2_days, held[view], s2[view, pixel])
            else:
                s2[view, pixel] = 0
            if sees_s1:
                state = _state(position, words, FIRST_S1 + view)
                _draw(usable[2 + source], nums_s1[view], state, s1.shape[2], numbers, held[2])
                _write_s1(s1_values, s1_days, held[2], s1[view, pixel])
            else:
                s1[view, pixel] = 0
        if sees_both:
            for k in range(s2.shape[2]):
                num_same += held[0, k] == held[1, k]
    return num_same


@compiled
def _normalise(
    source: Arrays, pixel: int, scale: Floats, values: Floats, days: Floats, first: int
) -> None:
    """Normalise all observations of a d-pixel, behind ``first`` others."""
    stored, stored_days, _ = source
    num_values = stored.shape[1]
    start = first * NUM_S1  # only radar has others before it
    for i in range(num_values):
        values[start + i] = (np.float32(stored[pixel, i]) - scale[0, i]) / scale[1, i]
    for i in range(stored_days.shape[1]):
        days[first + i] = np.float32(stored_days[pixel, i])


@compiled
def _collect(
    valid_BT: npt.NDArray[np.bool_], pixel: int, usable: Places, num: int, first: int
) -> int:
    """Append where a d-pixel's valid observations lie; return how many there are then."""
    for t in range(valid_BT.shape[1]):
        # Written always and kept when valid: chance defeats the guessing of branches.
        usable[num] = first + t
        num += valid_BT[pixel, t]
    return num


@compiled
def _deal(
    first: Places, second: Places, num: int, state: np.uint32, numbers: Numbers, chosen: Places
) -> tuple[int, int]:
    """Deal the observations in ``first`` into two halves, the larger first."""
    if num < 2:
        second[0] = first[0]
        return num, num
    half = (num + 1) // 2
    _choose(num, state, half, numbers, chosen)
    kept, given = 0, 0
    for place in range(num):
        where = first[place]
        is_kept = kept < half and chosen[kept] == place
        second[given] = where
        given += not is_kept
        if is_kept:
            first[kept] = where
            kept += 1
    return kept, given


@compiled
def _draw(
    usable: Places, num: int, state: np.uint32, length: int, numbers: Numbers, held: Places
) -> None:
    """Fill ``held`` with ``length`` of the ``num`` usable observations, ascending."""
    if num < length:
        _repeat(num, state, length, numbers, held)
    else:
        _choose(num, state, length, numbers, held)
    for k in range(length):
        held[k] = usable[held[k]]


@compiled
def _repeat(num: int, state: np.uint32, length: int, counts: Numbers, chosen: Places) -> None:
    """Draw places with replacement, ascending by counting them."""
    for place in range(num):
        counts[place] = 0
    for k in range(length):
        number = np.uint64(_number(state, FIRST_REPEAT + k))
        counts[np.int64((number * np.uint64(num)) >> np.uint64(32))] += np.uint32(1)
    k = 0
    for place in range(num):
        for _ in range(counts[place]):
            chosen[k] = place
            k += 1


@compiled
def _choose(num: int, state: np.uint32, length: int, numbers: Numbers, chosen: Places) -> None:
    """Draw the places of the ``length`` smallest numbers, ascending; ``length`` up to ``num``.

    Numbers are uniform and no two of a stream are equal, so a limit that exactly ``length`` of
    them lie below exists and is soon found by interpolation; nothing has to be sorted.
    """
    for place in range(num):
        numbers[place] = _number(state, place)
    low, high = 0, NUM_NUMBERS
    limit, below, num_tries = NUM_NUMBERS, num, 0
    while below != length:
        if below < length:
            low = limit
        else:
            high = limit
        num_tries += 1
        limit += NUM_NUMBERS // num * (length - below)
        # Halving now and then bounds the search, whatever the numbers.
        if num_tries % HALVE_EVERY == 0 or not low < limit < high:
            limit = (low + high) // 2
        below = _num_below(numbers, num, limit)
    k = 0
    for place in range(num):
        chosen[k] = place
        k += numbers[place] < limit


@compiled
def _num_below(numbers: Numbers, num: int, limit: int) -> int:
    """Return how many of the first ``num`` numbers lie below a limit of up to 2^32 - 1."""
    bound, below = np.uint32(limit), np.uint32(0)
    for place in range(num):
        below = np.uint32(below + np.uint32(numbers[place] < bound))
    return int(below)


@compiled
def _hides(state: np.uint32, num_hidden: int) -> tuple[bool, bool]:
    """Return whether a sensor would be hidden, and whether radar is the one."""
    return int(_number(state, 0)) < num_hidden, _number(state, 1) % 2 == 1


@compiled
def _write_s2(values: Floats, days: Floats, held: Places, out_KC: Floats) -> None:
    for k in range(len(out_KC)):
        t = held[k]
        for band in range(NUM_S2):
            out_KC[k, band] = values[t * NUM_S2 + band]
        out_KC[k, NUM_S2] = days[t]


@compiled
def _write_s1(values: Floats, days: Floats, held: Places, out_KC: Floats) -> None:
    for k in range(len(out_KC)):
        t = held[k]
        for band in range(NUM_S1):
            out_KC[k, band] = values[t * NUM_S1 + band]
        out_KC[k, NUM_S1] = days[t]


@compiled
def _state(position: np.uint32, words: Numbers, stream: int) -> np.uint32:
    """Return the state of a d-pixel in one stream."""
    return _mix(np.uint32(_mix(np.uint32(position ^ words[stream, 0])) ^ words[stream, 1]))


@compiled
def _number(state: np.uint32, count: int) -> np.uint32:
    """Return the number at some count of a state."""
    return _mix(np.uint32(state + np.uint32(count) * STRIDE))


@compiled
def _mix(word: np.uint32) -> np.uint32:
    """Return 32 bits of which each depends on every bit of ``word``."""
    word = np.uint32((word ^ (word >> FIRST_SHIFT)) * FIRST_FACTOR)
    word = np.uint32((word ^ (word >> SECOND_SHIFT)) * SECOND_FACTOR)
    return np.uint32(word ^ (word >> THIRD_SHIFT))
