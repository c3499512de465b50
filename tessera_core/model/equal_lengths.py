"""Batches of equal length: what each d-pixel's sequence needs, each observation once.

Sampling rules repeat observations to fill a length: v1.0 draws with replacement, v1.1 and v2 pad to
a bucket. Equal observations get equal answers from every layer but a recurrent one, so on a CPU the
network sees each once, with its count (``Repeats``): the same answer in fewer operations. A GPU has
operations to spare and wants few, large groups, so there sequences stay as the rule fills them.

Shapes: B d-pixels, L places of a sequence, U distinct observations, C bands + 1.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tessera_core.domain.sampling import Sampling, distinct_positions
from tessera_core.model.layers import Repeats
from tessera_core.model.sequences import Rows, Sequences


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
    """(B,), U of each; L where observations are to stand as often as they count."""

    drawn_BL: Rows | None
    """Positions that a random rule drew; None where a rule needs no draw."""

    sampling: Sampling
    """The model's rule."""

    def take(self, batch: Rows) -> tuple[Tensor, Repeats | None]:
        """Return tokens (B, U, C) of some d-pixels of equal length, and how they repeat.

        U is the largest number of distinct observations among them; what others lack counts 0.
        """
        rows, length = self.rows[batch], int(self.length[batch[0]])
        num_distinct = int(self.num_distinct[batch].max())
        if self.drawn_BL is None:
            positions_BL = self.sensor.positions(rows, self.sampling, length, seed=0)
        else:
            positions_BL = self.drawn_BL[batch]
        if (self.num_distinct[batch] == length).all():
            return self._tokens(rows, positions_BL), None
        position_BU, count_BU, place_BL = distinct_positions(positions_BL, num_distinct)
        device = self.tokens_MC.device
        with np.errstate(divide="ignore"):
            log_count_BU = np.log(count_BU.astype(np.float32))
        repeats = Repeats(
            log_count_BU=torch.from_numpy(log_count_BU).to(device),
            place_BL=torch.from_numpy(place_BL).to(device),
        )
        return self._tokens(rows, position_BU), repeats

    def _tokens(self, rows: Rows, position_BU: Rows) -> Tensor:
        """Gather tokens; a d-pixel that this sensor never saw gets zeros, day 0 included."""
        is_seen = self.sensor.num_usable()[rows] > 0
        if not is_seen.any():
            shape = (*position_BU.shape, self.tokens_MC.shape[1])
            return torch.zeros(shape, device=self.tokens_MC.device)
        index = self.sensor.offsets[rows][:, None] + position_BU
        # A neighbour of equal length may have data: look anywhere, then blank it out.
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
        num_distinct=distinct if device.type == "cpu" else length,
        drawn_BL=drawn_BL,
        sampling=sampling,
    )


def equal_lengths(plans: tuple[SensorPlan, SensorPlan]) -> list[Rows]:
    """Return groups of d-pixels whose two sequences have equal lengths.

    Within a group they are ordered by distinct observations, so that a batch cut from it needs
    little padding.
    """
    lengths = np.stack([plan.length for plan in plans], axis=1)
    if not len(lengths):
        return []
    pairs, group = np.unique(lengths, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.lexsort((plans[0].num_distinct, plans[1].num_distinct, group))
    ends = np.cumsum(np.bincount(group, minlength=len(pairs)))
    return np.split(order, ends[:-1])
