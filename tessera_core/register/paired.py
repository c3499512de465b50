"""Two sets of answers to the same questions of one task, compared by resampling groups for both."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bootstrap import MAX_BLOCK, count_blocks, resampled_scores
from tessera_core.domain.scores import METRICS, Kind, require_metrics, scores
from tessera_core.errors import InputError

Floats = npt.NDArray[np.float64]

ALPHA: Final = 0.05
"""Chance at most that a version which is no better on any task is promoted, and that a loss as
large as a margin is overlooked."""

SHARED_OUT: Final = 0.04
"""Level of superiority over all tasks together. Less than ``ALPHA``: in the far tail resampling is
too sure of itself, by up to a quarter at 60 to 200 groups."""

NUM_RESAMPLES: Final = 4000
"""Of the groups: five tasks look at the 1 % tail, where 40 of them lie."""

MIN_GROUPS: Final = 12
"""With fewer, resampling is too sure of itself: at 5 groups a version that is no better passes the
1 % level in 4 of 100 cases, at 12 in 1 to 2."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskEvidence:
    """What two versions did on the same units of one task; G groups."""

    name: str
    """Of the task."""

    kind: Kind
    """Says what a tally is."""

    metric: str
    """The one that decides."""

    margin: float
    """How much worse still counts as no worse, in the metric's unit, 0 or more."""

    champion: Floats
    """(G, ...) tally."""

    challenger: Floats
    """(G, ...) tally."""

    region: npt.NDArray[np.str_]
    """(G,), empty where the task knows none."""

    def __post_init__(self) -> None:
        """Check that both speak of the same groups."""
        if self.champion.shape != self.challenger.shape or len(self.region) != len(self.champion):
            raise InputError(
                f"task {self.name}: tallies have shapes {self.champion.shape} and "
                f"{self.challenger.shape} for {len(self.region)} groups; expected equal groups"
            )
        if not len(self.champion):
            raise InputError(f"task {self.name}: there is no group that both versions were asked")
        require_metrics(self.kind, (self.metric,), f"task {self.name}")
        if not self.margin >= 0:
            raise InputError(f"task {self.name}: the margin is {self.margin}, expected 0 or more")


def gains(task: TaskEvidence, inside: npt.NDArray[np.bool_]) -> Floats:
    """Return resampled gains on some groups, (R,); more is better."""
    sums = {"old": task.champion[inside], "new": task.challenger[inside]}
    resampled = resampled_scores(task.kind, sums, _blocks(int(inside.sum())))
    return sign_of(task) * (resampled["new"][task.metric] - resampled["old"][task.metric])


def score_of(task: TaskEvidence, tally: Floats) -> float:
    """Return the score of a tally over groups in the metric that decides."""
    return float(scores(task.kind, tally.sum(axis=0))[task.metric])


def sign_of(task: TaskEvidence) -> float:
    """Return 1 where more is better, else -1."""
    return 1.0 if METRICS[task.metric].higher_is_better else -1.0


def _blocks(num_groups: int) -> Iterable[Floats]:
    """Return how often each group is drawn, in blocks (B, G)."""
    if num_groups * NUM_RESAMPLES <= MAX_BLOCK:  # at most 16 of 16 MiB
        return _kept_blocks(num_groups)
    return _drawn_blocks(num_groups)


@lru_cache(maxsize=16)
def _kept_blocks(num_groups: int) -> tuple[Floats, ...]:
    return tuple(_drawn_blocks(num_groups))


def _drawn_blocks(num_groups: int) -> Iterator[Floats]:
    # Seeded by nothing but their number: order and names of tasks change no decision.
    return count_blocks(num_groups, NUM_RESAMPLES, np.random.default_rng(num_groups))
