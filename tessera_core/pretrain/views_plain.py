"""The two-view sampler in tensor operations: any device, no loop, no wait.

``views_compiled`` does the same in compiled loops; both give the same bits.

Shapes: V views (2), B d-pixels, T observations (padded), K observations drawn, C bands.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from tessera_core.domain.norms import EPSILON, BandStats, NormStats
from tessera_core.pretrain.chance import (
    FIRST_FACTOR,
    FIRST_REPEAT,
    FIRST_SHIFT,
    LOW_32,
    SECOND_FACTOR,
    SECOND_SHIFT,
    STRIDE,
    THIRD_SHIFT,
    Stream,
)
from tessera_core.pretrain.raw_pixels import RawPixels

PLACE_BITS: Final = 16
LOW_16: Final = 0xFFFF
NEVER: Final = 1 << 62
"""Sorts behind every number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawRule:
    """How one step draws."""

    words: npt.NDArray[np.uint32]
    """(8, 2), two words per stream."""

    lengths: tuple[int, int]
    """Observations per view, S2 and S1."""

    is_disjoint: bool
    """Whether the views share no observation."""

    num_hidden: int
    """Of 2^32 random numbers, those that hide a sensor."""


def draw_plain(
    raw: RawPixels, norms: NormStats, position_B: Tensor, rule: DrawRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Return S2 tokens (2, B, K, 11), S1 tokens (2, B, K, 3) and overlap, a scalar."""
    optical, parts = raw.optical, (raw.ascending, raw.descending)
    radar_valid_BT = torch.cat([part.valid for part in parts], dim=1)
    has_optical_B, has_radar_B = optical.valid.any(dim=1), radar_valid_BT.any(dim=1)
    hides_optical_VB, hides_radar_VB = _hidden(position_B, rule)
    # The only sensor that saw a d-pixel stays.
    sees_optical_VB = has_optical_B & ~(hides_optical_VB & has_radar_B)
    sees_radar_VB = has_radar_B & ~(hides_radar_VB & has_optical_B)

    s2_VBK = _draw_sensor(optical.valid, position_B, rule, sensor=0)
    s1_VBK = _draw_sensor(radar_valid_BT, position_B, rule, sensor=1)
    s2 = _tokens(
        _bits(optical.values),
        _bits(optical.day_of_year),
        s2_VBK,
        *_scale(norms.s2, position_B.device),
        mask=LOW_16,
    )
    ascending, descending = (
        _scale(stats, position_B.device) for stats in (norms.s1_ascending, norms.s1_descending)
    )
    is_descending = (s1_VBK >= raw.ascending.valid.shape[1])[..., None]
    s1 = _tokens(
        torch.cat([part.values for part in parts], dim=1),
        torch.cat([_bits(part.day_of_year) for part in parts], dim=1),
        s1_VBK,
        *(torch.where(is_descending, *pair) for pair in zip(descending, ascending, strict=True)),
        mask=None,
    )
    is_same_BK = (s2_VBK[0] == s2_VBK[1]) & sees_optical_VB.all(dim=0)[:, None]
    overlap = (is_same_BK.sum().double() / max(is_same_BK.numel(), 1)).float()
    return (
        torch.where(sees_optical_VB[..., None, None], s2, 0.0),
        torch.where(sees_radar_VB[..., None, None], s1, 0.0),
        overlap,
    )


def _draw_sensor(valid_BT: Tensor, position_B: Tensor, rule: DrawRule, *, sensor: int) -> Tensor:
    """Return which observations each view holds, (V, B, K) into T, ascending."""
    length, num_times = rule.lengths[sensor], valid_BT.shape[1]
    first = (Stream.FIRST_S2, Stream.FIRST_S1)[sensor]
    state_VB = torch.stack([_state(position_B, rule.words[first + view]) for view in range(2)])
    if num_times == 0:
        return torch.zeros((*state_VB.shape, length), dtype=torch.int64, device=valid_BT.device)
    if rule.is_disjoint:
        deal = (Stream.DEAL_S2, Stream.DEAL_S1)[sensor]
        valid_VBT = _dealt(valid_BT, _state(position_B, rule.words[deal]))
    else:
        valid_VBT = valid_BT.expand(2, -1, -1)
    counted_VBT = valid_VBT.cumsum(dim=-1)
    num_VB1 = counted_VBT[..., -1:]

    order_VBT = _random_order(valid_VBT, counted_VBT - 1, state_VB)
    order_VBT = pad(order_VBT, (0, max(length - num_times, 0)), value=NEVER)
    unique_VBK = order_VBT.topk(length, dim=-1, largest=False, sorted=False).values & LOW_16
    counts_K = torch.arange(FIRST_REPEAT, FIRST_REPEAT + length, device=valid_BT.device)
    repeated_VBK = (_numbers(state_VB[..., None], counts_K) * num_VB1) >> 32
    place_VBK = torch.where(num_VB1 >= length, unique_VBK, repeated_VBK).sort(dim=-1).values
    # From the place among the valid ones to the place among all.
    index_VBK = torch.searchsorted(counted_VBT, place_VBK + 1)
    return index_VBK.clamp(max=num_times - 1)


def _dealt(valid_BT: Tensor, state_B: Tensor) -> Tensor:
    """Deal valid observations into halves, the larger first; return validity (V, B, T)."""
    counted_BT = valid_BT.cumsum(dim=-1)
    num_B1 = counted_BT[..., -1:]
    order_BT = _random_order(valid_BT, counted_BT - 1, state_B)
    last_B1 = order_BT.sort(dim=-1).values.gather(-1, ((num_B1 + 1) // 2 - 1).clamp(min=0))
    is_first_BT = order_BT <= last_B1
    return torch.stack([valid_BT & is_first_BT, valid_BT & (~is_first_BT | (num_B1 == 1))])


def _random_order(valid: Tensor, place: Tensor, state: Tensor) -> Tensor:
    """Return sort keys (..., T): random, then place; no two valid ones are equal."""
    return torch.where(valid, (_numbers(state[..., None], place) << PLACE_BITS) | place, NEVER)


def _hidden(position_B: Tensor, rule: DrawRule) -> tuple[Tensor, Tensor]:
    """Return which views would hide S2 and which S1, both (V, B)."""
    state_VB = torch.stack(
        [
            _state(position_B, rule.words[stream])
            for stream in (Stream.FIRST_HIDDEN, Stream.SECOND_HIDDEN)
        ]
    )
    falls_VB = _mix(state_VB) < rule.num_hidden
    is_radar_VB = _mix((state_VB + STRIDE) & LOW_32) % 2 == 1
    return falls_VB & ~is_radar_VB, falls_VB & is_radar_VB


def _state(position_B: Tensor, words: npt.NDArray[np.uint32]) -> Tensor:
    """Return the state of each d-pixel in one stream, (B,)."""
    return _mix(_mix((position_B & LOW_32) ^ int(words[0])) ^ int(words[1]))


def _numbers(state: Tensor, count: Tensor) -> Tensor:
    """Return the 32-bit numbers at some counts of some states."""
    return _mix((state + count * STRIDE) & LOW_32)


def _mix(word: Tensor) -> Tensor:
    """Return 32 bits, held as int64, of which each depends on every bit of ``word``."""
    # Products wrap around in int64, which leaves their low 32 bits right.
    word = ((word ^ (word >> FIRST_SHIFT)) * FIRST_FACTOR) & LOW_32
    word = ((word ^ (word >> SECOND_SHIFT)) * SECOND_FACTOR) & LOW_32
    return word ^ (word >> THIRD_SHIFT)


def _tokens(
    values_BTC: Tensor,
    day_BT: Tensor,
    index_VBK: Tensor,
    mean: Tensor,
    divisor: Tensor,
    *,
    mask: int | None,
) -> Tensor:
    """Return the observations at ``index_VBK`` as model input, (V, B, K, C + 1)."""
    if day_BT.shape[1] == 0:
        return mean.new_zeros((*index_VBK.shape, values_BTC.shape[2] + 1))
    rows_B1 = torch.arange(len(day_BT), device=day_BT.device)[:, None]
    taken = values_BTC[rows_B1, index_VBK]
    if mask is not None:
        taken = taken.to(torch.int32) & mask
    days = day_BT[rows_B1, index_VBK].float()
    # float32 first: subtracting from uint16 would wrap around.
    return torch.cat([(taken.float() - mean) / divisor, days[..., None]], dim=-1)


def _bits(unsigned: Tensor) -> Tensor:
    """Return uint16 as int16 of the same bits: CUDA indexes no uint16."""
    return unsigned.view(torch.int16)


@lru_cache(maxsize=16)
def _scale(stats: BandStats, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and divisor on a device; kept, since copying them there waits for it."""
    divisor = np.array(stats.std, np.float32) + np.float32(EPSILON)
    mean = torch.tensor(stats.mean, dtype=torch.float32)
    return mean.to(device), torch.from_numpy(divisor).to(device)
