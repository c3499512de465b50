"""Which observations a released model sees at inference: three rules, each bound to its release.

Shapes: B d-pixels, K observations chosen. All rules answer with *positions* among the usable
observations of each d-pixel, 0 up to its count, so they know nothing of bands or storage.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from tessera_core.errors import RecordError

Counts = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]

BUCKETS: Final = tuple(range(8, 257, 8))
"""Lengths of the bucket rules, 8 to 256 (method.md 3.2)."""

SPARSE_LENGTH: Final = 40
"""K of the v1.0 releases (method.md 3.1)."""


class Rule(StrEnum):
    """A sampling rule by the release that introduced it."""

    V1_0_SPARSE_RANDOM = "v1.0-sparse-random"
    """K random observations; with replacement where there are fewer."""

    V1_1_BUCKETS = "v1.1-buckets"
    """All observations, repeated to the next bucket at evenly spaced places."""

    V2_BUCKETS = "v2-buckets"
    """All observations, repeated to the next bucket by the middles of equal chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The rule of one model and its lengths."""

    rule: Rule
    """Which rule."""

    lengths: tuple[int, ...]
    """Buckets, ascending; for the sparse random rule K alone."""

    def __post_init__(self) -> None:
        """Refuse lengths that are none."""
        rising = all(
            low < high for low, high in zip((0, *self.lengths), self.lengths, strict=False)
        )
        if not self.lengths or not rising:
            raise RecordError(
                f"sampling lengths are {self.lengths}, expected rising lengths above 0"
            )
        if self.is_random and len(self.lengths) != 1:
            raise RecordError(f"{self.rule} has one length, got {self.lengths}")

    @property
    def is_random(self) -> bool:
        """Whether a seed decides what is chosen."""
        return self.rule is Rule.V1_0_SPARSE_RANDOM

    def lengths_of(self, num_usable: Counts) -> Counts:
        """Return the length of the sequence that each d-pixel is given, (N,).

        The smallest bucket that holds all observations, the largest where none does. Without any
        observation the sequence is made of zeros: 1 under the v2 rule, and told apart from one
        observation by a length of 0 here; the smallest bucket under v1.1; K under v1.0.
        """
        if self.is_random:
            return np.full(num_usable.shape, self.lengths[0], np.int64)
        buckets = np.array(self.lengths, np.int64)
        place = np.minimum(np.searchsorted(buckets, num_usable), len(buckets) - 1)
        found: Counts = buckets[place]
        return np.where(num_usable > 0, found, 0) if self.rule is Rule.V2_BUCKETS else found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote; raises RecordError when it is something else."""
        try:
            return cls(
                rule=Rule(stored["rule"]), lengths=tuple(int(value) for value in stored["lengths"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"sampling {stored!r} is no sampling rule: {error}") from error


V1_0_SAMPLING: Final = Sampling(rule=Rule.V1_0_SPARSE_RANDOM, lengths=(SPARSE_LENGTH,))
V1_1_SAMPLING: Final = Sampling(rule=Rule.V1_1_BUCKETS, lengths=BUCKETS)
V2_SAMPLING: Final = Sampling(rule=Rule.V2_BUCKETS, lengths=BUCKETS)


def v1_0_positions(keys_BT: npt.NDArray[np.uint64], num_usable_B: Counts, length: int) -> Positions:
    """Choose K random observations per d-pixel (method.md 3.1).

    Without replacement where there are at least K, with replacement where there are fewer,
    ascending in both cases.

    Args:
        keys_BT: One random number per observation, the largest value where there is none. They
            decide everything, so equal keys give equal choices whatever the batch.
        num_usable_B: Observations of each d-pixel, 1 or more.
        length: K.
    """
    chosen = np.empty((len(keys_BT), length), np.int64)
    enough = num_usable_B >= length
    if enough.any():
        order_BK = np.argpartition(keys_BT[enough], length - 1, axis=1)
        chosen[enough] = order_BK[:, :length]
    few = ~enough
    if few.any():
        # K fresh numbers from the first observation's key, brought to 0 .. n - 1.
        steps = np.arange(1, length + 1, dtype=np.uint64)
        fresh_BK = mix_bits(keys_BT[few, :1] + steps * GOLDEN_GAMMA)
        share_BK = (fresh_BK >> np.uint64(11)).astype(np.float64) / 2**53
        chosen[few] = (share_BK * num_usable_B[few, None]).astype(np.int64)
    return np.sort(chosen, axis=1)


def v1_1_positions(num_usable_B: Counts, length: int) -> Positions:
    """Fill a bucket from all observations by the v1.1 rule (method.md 3.2), (B, length).

    Too many: the middles of equal chunks. Too few: all, then evenly spaced ones *behind* them;
    the GRU of v1.1 sees them there, out of time order.
    """
    return _from_patterns(_v1_1_pattern, num_usable_B, length)


def v2_positions(num_usable_B: Counts, length: int) -> Positions:
    """Fill a bucket from all observations by the v2 rule (method.md 3.2), (B, length).

    Too many: evenly spaced, floored. Too few: all, then the middles of equal chunks, or a cycle
    when more than the number of observations are lacking. v2 has no recurrence, so order does
    not matter but multiplicity does.
    """
    return _from_patterns(_v2_pattern, num_usable_B, length)


def observation_keys(content: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """Return one random number per observation from its content and a seed; any shape.

    A counter-based generator (SplitMix64, Steele et al. 2014): what is drawn for a d-pixel
    depends on the seed and its own observations, never on its neighbours or its place.
    """
    start = mix_bits(np.array([seed % 2**64], np.uint64) + GOLDEN_GAMMA)
    return mix_bits(content ^ start)


GOLDEN_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)


def mix_bits(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return SplitMix64's finaliser: every input bit moves every output bit; wraps by design."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def distinct_positions(
    positions_RL: Positions, num_distinct: int
) -> tuple[Positions, Positions, Positions]:
    """Return each row's positions without their repetitions.

    A network without recurrence gives equal observations equal answers, so it need see each only
    once if it knows how often it counts.

    Args:
        positions_RL: Positions, repeated in any order.
        num_distinct: U, places to return; rows with fewer distinct positions are padded.

    Returns:
        position (R, U), ascending, 0 where padded; count (R, U), 0 where padded; and for each of
        the L places which of the U it repeats, (R, L).
    """
    num_rows, length = positions_RL.shape
    order_RL = np.argsort(positions_RL, axis=1, kind="stable")
    sorted_RL = np.take_along_axis(positions_RL, order_RL, axis=1)
    is_new = np.ones((num_rows, length), np.bool_)
    is_new[:, 1:] = sorted_RL[:, 1:] != sorted_RL[:, :-1]
    rank_RL = np.cumsum(is_new, axis=1) - 1
    flat = (rank_RL + num_distinct * np.arange(num_rows)[:, None]).reshape(-1)
    count = np.bincount(flat, minlength=num_rows * num_distinct)
    position = np.zeros(num_rows * num_distinct, np.int64)
    position[flat] = sorted_RL.reshape(-1)
    place_RL = np.empty_like(rank_RL)
    np.put_along_axis(place_RL, order_RL, rank_RL, axis=1)
    shape = (num_rows, num_distinct)
    return position.reshape(shape), count.reshape(shape), place_RL


def _from_patterns(
    pattern: Callable[[int, int], Positions], num_usable_B: Counts, length: int
) -> Positions:
    """Return one row per d-pixel; those of equal count share a pattern."""
    counts, row_of_pixel = np.unique(num_usable_B, return_inverse=True)
    table = np.stack([pattern(int(count), length) for count in counts])
    return table[row_of_pixel.reshape(-1)]


@lru_cache(maxsize=4096)
def _v1_1_pattern(num_usable: int, length: int) -> Positions:
    if num_usable == 0:
        return np.zeros(length, np.int64)
    if num_usable >= length:
        return _chunk_middles(num_usable, length)
    spaced = np.linspace(0, num_usable - 1, length - num_usable + 2)[1:-1]
    return np.concatenate([np.arange(num_usable), np.rint(spaced).astype(np.int64)])


@lru_cache(maxsize=4096)
def _v2_pattern(num_usable: int, length: int) -> Positions:
    if num_usable == 0:
        return np.zeros(length, np.int64)
    if num_usable >= length:
        return np.linspace(0, num_usable - 1, length).astype(np.int64)
    lacking = length - num_usable
    if lacking <= num_usable:
        extra = _chunk_middles(num_usable, lacking)
    else:
        extra = np.arange(lacking, dtype=np.int64) % num_usable
    return np.concatenate([np.arange(num_usable), extra])


def _chunk_middles(num: int, num_chunks: int) -> Positions:
    """Return the middle element of each of some near-equal chunks of 0 .. num - 1."""
    chunks = np.array_split(np.arange(num), num_chunks)
    return np.array([chunk[len(chunk) // 2] for chunk in chunks], np.int64)
