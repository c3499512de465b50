"""Batches of equal shape: what each d-pixel's sequence needs, each observation once.

Sampling rules repeat observations to fill a length: v1.0 draws with replacement, v1.1 and v2 pad to
a bucket. Equal observations get equal answers from every layer but a recurrent one, so the network
sees each once, with its count (``Repeats``). The answer is the same, in fewer operations.

Shapes: B d-pixels, L places of a sequence, U distinct observations, C bands + 1.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from tessera_core.domain.sampling import Sampling, distinct_positions
from tessera_core.model.layers import Repeats
from tessera_core.model.sequences import Rows, Sequences

STEP: Final = 4
"""Distinct observations are padded to a multiple of this: finer leaves batches of few d-pixels.
The padded number is the d-pixel's own, so its neighbours do not decide it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SensorPlan:
    """One sensor's part in the batches of B d-pixels."""

    sensor: Sequences
    """Their usable observations."""

    tokens_MC: Tensor
    """The same tokens on the device that computes."""

    rows: Rows
    """(B,), which d-pixels of the sequences they are."""

    length: Rows
    """(B,), L of each."""

    num_distinct: Rows
    """(B,), U of each, padding included."""

    drawn_BL: Rows | None
    """Positions that a random rule drew; None where a rule needs no draw."""

    sampling: Sampling
    """The model's rule."""

    def take(self, batch: Rows) -> tuple[Tensor, Repeats | None]:
        """Return tokens (B, U, C) of some d-pixels of equal shape, and how they repeat."""
        rows, length = self.rows[batch], int(self.length[batch[0]])
        if self.drawn_BL is None:
            positions_BL = self.sensor.positions(rows, self.sampling, length, seed=0)
        else:
            positions_BL = self.drawn_BL[batch]
        num_distinct = int(self.num_distinct[batch[0]])
        position_BU, count_BU, place_BL = distinct_positions(positions_BL, num_distinct)
        device = self.tokens_MC.device
        tokens_BUC = self._tokens(rows, position_BU).to(device)
        if num_distinct == length and (count_BU == 1).all():
            return tokens_BUC, None
        with np.errstate(divide="ignore"):
            log_count_BU = np.log(count_BU.astype(np.float32))
        repeats = Repeats(
            log_count_BU=torch.from_numpy(log_count_BU).to(device),
            place_BL=torch.from_numpy(place_BL).to(device),
        )
        return tokens_BUC, repeats

    def _tokens(self, rows: Rows, position_BU: Rows) -> Tensor:
        """Gather tokens; a d-pixel that this sensor never saw gets zeros, day 0 included."""
        is_seen = self.sensor.num_usable()[rows] > 0
        if not is_seen.any():
            shape = (*position_BU.shape, self.tokens_MC.shape[1])
            return torch.zeros(shape, device=self.tokens_MC.device)
        index = self.sensor.offsets[rows][:, None] + position_BU
        # A neighbour of equal shape may have data: look anywhere, then blank it out.
        index[~is_seen] = 0
        tokens_BUC = self.tokens_MC[torch.from_numpy(index).to(self.tokens_MC.device)]
        if not is_seen.all():
            tokens_BUC[torch.from_numpy(~is_seen).to(tokens_BUC.device)] = 0
        return tokens_BUC


def plan_sensor(
    sensor: Sequences, rows: Rows, sampling: Sampling, seed: int, device: torch.device
) -> SensorPlan:
    """Return one sensor's part for some d-pixels.

    Args:
        sensor: Usable observations of all d-pixels.
        rows: Those with data.
        sampling: The model's rule.
        seed: Decides what a random rule draws.
        device: Where the network lives.
    """
    num_usable = sensor.num_usable()[rows]
    # A length of 0 stands for one token of zeros.
    length = np.maximum(sampling.lengths_of(num_usable), 1)
    drawn_BL = None
    if sampling.is_random and len(rows):
        drawn_BL = sensor.positions(rows, sampling, int(length[0]), seed)
        distinct = 1 + (drawn_BL[:, 1:] != drawn_BL[:, :-1]).sum(axis=1)
    else:
        distinct = np.clip(num_usable, 1, length)
    return SensorPlan(
        sensor=sensor,
        tokens_MC=torch.from_numpy(sensor.tokens_MC).to(device),
        rows=rows,
        length=length,
        num_distinct=np.minimum(-(-distinct // STEP) * STEP, length),
        drawn_BL=drawn_BL,
        sampling=sampling,
    )


def equal_shapes(plans: tuple[SensorPlan, SensorPlan]) -> list[Rows]:
    """Return groups of d-pixels whose two sequences have equal shapes, each in order."""
    keys = np.stack([part for plan in plans for part in (plan.length, plan.num_distinct)], axis=1)
    if not len(keys):
        return []
    shapes, group = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(group.reshape(-1), minlength=len(shapes)))
    return np.split(order, ends[:-1])
