"""Random numbers that are counted, not carried: a function of who asks, never of who asked before.

A stream is named by the step's key, its purpose, sensor and view; two words stand for it. Within a
stream a d-pixel's position gives a state, and state and count give a number. All are 32 bits
wide. The same arithmetic is written in tensor operations (``views_plain``) and in compiled loops
(``views_compiled``), so nothing depends on batch neighbours, ranks, devices or threads. Mixing is
one-to-one and the stride odd, so a d-pixel meets no number of a stream twice.

numba holds compiled code for current as long as ``views_compiled.py`` is unchanged: touch it after
a change here.
"""

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_KEY: Final = 2**63
LOW_32: Final = 0xFFFF_FFFF

# Finaliser "lowbias32": two rounds of multiply and shift, found by search for low bias.
FIRST_SHIFT: Final = 16
SECOND_SHIFT: Final = 15
THIRD_SHIFT: Final = 16
FIRST_FACTOR: Final = 0x7FEB_352D
SECOND_FACTOR: Final = 0x846C_A68B

STRIDE: Final = 0x9E37_79B9
"""Counts lie this far apart before they are mixed: 2^32 by the golden ratio."""

FIRST_REPEAT: Final = 1 << 16
"""Count of the first draw with replacement; counts below it number observations."""

WORD_STRIDE: Final = 0x9E37_79B9_7F4A_7C15
LOW_64: Final = (1 << 64) - 1


class Stream(IntEnum):
    """What a stream of numbers decides; one row of ``stream_words`` each."""

    FIRST_S2 = 0
    SECOND_S2 = 1
    FIRST_S1 = 2
    SECOND_S1 = 3
    DEAL_S2 = 4
    DEAL_S1 = 5
    FIRST_HIDDEN = 6
    SECOND_HIDDEN = 7


def stream_words(key: int) -> npt.NDArray[np.uint32]:
    """Return two words per stream, (8, 2), each a function of all bits of ``key``.

    Args:
        key: 0 up to below 2^63, stands for seed and step.
    """
    root = _mix_64(key)
    words = [_mix_64((root + (stream + 1) * WORD_STRIDE) & LOW_64) for stream in Stream]
    return np.array([(word & LOW_32, word >> 32) for word in words], np.uint32)


def _mix_64(word: int) -> int:
    """Return 64 bits of which each depends on every bit of ``word`` (splitmix64's finaliser)."""
    word = ((word ^ (word >> 30)) * 0xBF58_476D_1CE4_E5B9) & LOW_64
    word = ((word ^ (word >> 27)) * 0x94D0_49BB_1331_11EB) & LOW_64
    return word ^ (word >> 31)
