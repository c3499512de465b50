"""Intervals by resampling whole groups: fields, blocks or chips, never pixels.

Pixels of one field are near copies of each other. Every score is a function of sums over groups, so
all resamples are one matrix product, and the same resamples serve all models: differences are
paired. A percentile interval of few groups is too narrow; its percentiles are moved outwards as
Hesterberg proposes ("What teachers should know about the bootstrap", 2015, section 5.3).

Resamples come in blocks, so that a million groups need no more memory than a thousand.

Shapes: G groups, R resamples, B resamples of one block.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.scores import Kind, scores

Floats = npt.NDArray[np.float64]
Scores = Mapping[str, Floats]

CONFIDENCE: Final = 0.95
DIGITS: Final = 6
"""Decimals kept in reports; the intervals are far wider."""

MIN_GROUPS: Final = 2

MAX_BLOCK: Final = 2**21
"""Counts of one block: 16 MiB, whatever the number of groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and its interval."""

    mean: float
    """The score of all units."""

    low: float
    """Lower end of the interval."""

    high: float
    """Upper end of the interval."""

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return {
            "mean": round(self.mean, DIGITS),
            "low": round(self.low, DIGITS),
            "high": round(self.high, DIGITS),
        }


def resample_counts(num_groups: int, num_resamples: int, rng: np.random.Generator) -> Floats:
    """Return how often each group is drawn in each resample, (R, G)."""
    share = np.full(num_groups, 1 / num_groups)
    return rng.multinomial(num_groups, share, size=num_resamples).astype(np.float64)


def count_blocks(num_groups: int, num_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the rows of ``resample_counts`` in blocks of bounded size, (B, G)."""
    largest = max(MAX_BLOCK // num_groups, 1)
    for done in range(0, num_resamples, largest):
        yield resample_counts(num_groups, min(largest, num_resamples - done), rng)


def resampled_scores(
    kind: Kind, sums: Mapping[str, Floats], blocks: Iterable[Floats]
) -> dict[str, dict[str, Floats]]:
    """Return model -> metric -> scores of the same resamples for every model, (R,).

    Args:
        kind: Of the task.
        sums: Model -> tally (G, ...) over the same groups.
        blocks: Counts (B, G) of how often each group is drawn.
    """
    parts: dict[str, list[dict[str, Floats]]] = {name: [] for name in sums}
    for counts in blocks:
        for name, tally in sums.items():
            drawn = counts @ tally.reshape(len(tally), -1)
            parts[name].append(scores(kind, drawn.reshape(-1, *tally.shape[1:])))
    return {
        name: {metric: np.concatenate([part[metric] for part in found]) for metric in found[0]}
        for name, found in parts.items()
    }


def expanded_tail(tail: float, num_groups: int) -> float:
    """Return the share of resamples to cut off so that a ``tail`` is cut off in truth.

    Args:
        tail: Wanted share beyond one end, 0..0.5.
        num_groups: G; the fewer, the further out.

    >>> round(expanded_tail(0.025, 10), 4), round(expanded_tail(0.025, 1000), 4)
    (0.0086, 0.0248)
    """
    from scipy.special import ndtr, stdtrit

    groups = max(num_groups, MIN_GROUPS)
    quantile = stdtrit(groups - 1, tail) * np.sqrt(groups / (groups - 1))
    return float(ndtr(quantile))


def interval(
    mean: float, drawn: Floats, *, num_groups: int, confidence: float = CONFIDENCE
) -> Estimate:
    """Return a number with the two-sided interval of resamples, (R,)."""
    tail = expanded_tail((1 - confidence) / 2, num_groups)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(mean=mean, low=float(low), high=float(high))


def estimate(point: Scores, resampled: Scores, *, num_groups: int) -> dict[str, dict[str, float]]:
    """Return metric -> mean, low, high for one model.

    Args:
        point: Metric -> score of all units, a scalar array.
        resampled: Metric -> scores of the resamples, (R,).
        num_groups: G.
    """
    return {
        name: interval(float(point[name]), resampled[name], num_groups=num_groups).to_dict()
        for name in point
    }


def estimate_difference(
    first: tuple[Scores, Scores], second: tuple[Scores, Scores], *, num_groups: int
) -> dict[str, dict[str, float]]:
    """Return metric -> mean, low, high of first minus second, paired by resample.

    Args:
        first: Point scores and resampled scores of one model.
        second: The same of the other, over the same resamples.
        num_groups: G.
    """
    point = {name: first[0][name] - second[0][name] for name in first[0]}
    resampled = {name: first[1][name] - second[1][name] for name in first[1]}
    return estimate(point, resampled, num_groups=num_groups)
