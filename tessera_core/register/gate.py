"""When a challenger becomes champion: a pure function of what both did on the same questions.

Every group (field, block, chip) is resampled for both versions at once, so differences are paired.
A challenger must be better on at least one report task, at a level that is shared out over all
tasks, so that a version which is no better is promoted in at most ``ALPHA`` of all cases; and on
every other task it must be no worse than the task's margin. See docs/decisions/0005.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bootstrap import DIGITS, expanded_tail, resample_counts
from tessera_core.domain.scores import METRICS, Kind, scores
from tessera_core.errors import InputError
from tessera_core.register.config import RegisterConfig

Floats = npt.NDArray[np.float64]

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"

ALPHA: Final = 0.05
"""Chance at most that a version which is no better on any task is promoted."""

NUM_RESAMPLES: Final = 4000
"""Of the groups: five tasks look at the 1 % tail, where 40 of them lie."""

MIN_GROUPS_PER_REGION: Final = 10
"""A region with fewer groups swings too much to hold a version back."""


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
        if self.margin < 0:
            raise InputError(f"task {self.name}: the margin is {self.margin}, expected 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that the rule looks at. None stands for what was not measured."""

    tasks: tuple[TaskEvidence, ...] = ()
    """Report tasks that both versions were asked."""

    missing: Mapping[str, str] = field(default_factory=dict)
    """Task -> why it cannot be compared, where the champion has a score and the challenger none,
    or they were asked other questions."""

    int8_loss: Mapping[str, float] = field(default_factory=dict)
    """Task -> how much worse the challenger's int8 codes score than its float32 values."""

    time_ratio: float | None = None
    """Challenger's time per d-pixel over the champion's."""

    size_ratio: float | None = None
    """Challenger's parameters over the champion's."""

    canaries_pass: bool | None = None
    """Whether the challenger reproduces its canaries."""

    quality_passed: bool | None = None
    """Whether its samples passed the quality gate."""

    audit_passed: bool | None = None
    """Whether every digest of its chain checks out."""

    bridge: str | None = None
    """Verdict of the bridge; told, never decisive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which alias a version gets, and why."""

    alias: str
    """``champion`` or ``challenger``."""

    reasons: tuple[str, ...]
    """Sentences with the numbers that decided, the decisive ones first."""

    numbers: Mapping[str, Any] = field(default_factory=dict)
    """All numbers of the rule, as plain JSON."""


def decide(evidence: Evidence, rule: RegisterConfig, *, has_champion: bool) -> Decision:
    """Return the alias of a new version.

    Args:
        evidence: What was measured.
        rule: Limits.
        has_champion: Without one, the first version serves if its own checks are green.
    """
    blocked = list(_own_faults(evidence, rule))
    if not has_champion:
        first = "first version: there is no champion yet"
        if blocked:
            return Decision(alias=CHALLENGER, reasons=(*blocked, first))
        return Decision(alias=CHAMPION, reasons=(first,))
    tasks = sorted(evidence.tasks, key=lambda task: task.name)
    level = ALPHA / max(len(tasks), 1)
    found = [_judge(task, level, rule) for task in tasks]
    blocked += [f"{name} cannot be compared: {why}" for name, why in evidence.missing.items()]
    blocked += list(_limits(evidence, rule))
    blocked += [reason for one in found for reason in one.blocks]
    superior = [one for one in found if one.is_superior]
    if not tasks:
        blocked.append("no task was asked of both versions, so they cannot be compared")
    elif not superior:
        blocked.append(
            f"better on none of {len(tasks)} tasks at the level of {level:.3f} each "
            f"({ALPHA:.2f} over all)"
        )
    told = [one.sentence for one in (*superior, *(each for each in found if not each.is_superior))]
    if evidence.bridge is not None:
        told.append(f"embeddings of the two versions are {evidence.bridge}")
    return Decision(
        alias=CHALLENGER if blocked else CHAMPION,
        reasons=(*blocked, *told),
        numbers={
            "alpha": ALPHA,
            "level_per_task": round(level, DIGITS),
            "num_resamples": NUM_RESAMPLES,
            "tasks": {one.name: dict(one.numbers) for one in found},
            "int8_loss": {name: round(loss, DIGITS) for name, loss in evidence.int8_loss.items()},
            "time_ratio": evidence.time_ratio,
            "size_ratio": evidence.size_ratio,
            "bridge": evidence.bridge,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """One task."""

    name: str
    is_superior: bool
    sentence: str
    blocks: tuple[str, ...]
    numbers: Mapping[str, Any]


def _judge(task: TaskEvidence, level: float, rule: RegisterConfig) -> _Verdict:
    """Compare two versions on one task; differences are turned so that more is better."""
    num_groups = len(task.champion)
    weights = _weights(num_groups)
    sign = 1.0 if METRICS[task.metric].higher_is_better else -1.0
    old, new = (_score(task, tally.sum(axis=0)) for tally in (task.champion, task.challenger))
    drawn = sign * (
        _resampled(task, task.challenger, weights) - _resampled(task, task.champion, weights)
    )
    gain = sign * float(new - old)
    low, strict, high = (
        float(np.quantile(drawn, share))
        for share in (
            expanded_tail(ALPHA, num_groups),
            expanded_tail(level, num_groups),
            1 - expanded_tail(ALPHA, num_groups),
        )
    )
    is_superior, is_kept = strict > 0, low > -task.margin
    sentence = (
        f"{task.name}: {task.metric} {float(new):.3f} against {float(old):.3f}, gain {gain:+.3f} "
        f"[{low:+.3f}, {high:+.3f}] over {num_groups} groups: "
        f"{'better' if is_superior else 'no worse' if is_kept else 'may be worse'}"
    )
    blocks = [] if is_kept else [
        f"{task.name} may be worse by {-low:.3f} in {task.metric}, more than the {task.margin:.3f} "
        "allowed"
    ]  # fmt: skip
    regions = dict(_regions(task, sign))
    worst = min(regions, key=lambda name: regions[name]["gain"], default=None)
    if worst is not None and regions[worst]["gain"] < -rule.max_region_loss:
        blocks.append(
            f"{task.name} falls by {-regions[worst]['gain']:.3f} in region {worst}, more than the "
            f"{rule.max_region_loss:.3f} allowed"
        )
    numbers = {
        "metric": task.metric,
        "champion": float(old),
        "challenger": float(new),
        "gain": gain,
        "low": low,
        "high": high,
        "low_for_superiority": strict,
        "margin": task.margin,
    }
    return _Verdict(
        name=task.name,
        is_superior=is_superior,
        sentence=sentence,
        blocks=tuple(blocks),
        numbers={
            name: round(value, DIGITS) if isinstance(value, float) else value
            for name, value in numbers.items()
        }
        | {
            "num_groups": num_groups,
            "is_superior": is_superior,
            "is_non_inferior": is_kept,
            "regions": regions,
        },
    )


def _regions(task: TaskEvidence, sign: float) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield how much each region with enough groups gains."""
    for name in np.unique(task.region):
        inside = task.region == name
        if not name or inside.sum() < MIN_GROUPS_PER_REGION or inside.all():
            continue
        old, new = (
            float(_score(task, tally[inside].sum(axis=0)))
            for tally in (task.champion, task.challenger)
        )
        gain = round(sign * (new - old), DIGITS)
        yield str(name), {"champion": round(old, DIGITS), "challenger": round(new, DIGITS),
                          "gain": gain}  # fmt: skip


@lru_cache(maxsize=8)
def _weights(num_groups: int) -> Floats:
    """Return how often each group is drawn, (R, G).

    Seeded by nothing but their number: order and names of tasks change no decision.
    """
    return resample_counts(num_groups, NUM_RESAMPLES, np.random.default_rng(num_groups))


def _score(task: TaskEvidence, tally: Floats) -> Floats:
    return scores(task.kind, tally)[task.metric]


def _resampled(task: TaskEvidence, tally: Floats, weights: Floats) -> Floats:
    flat = weights @ tally.reshape(len(tally), -1)
    return _score(task, flat.reshape(-1, *tally.shape[1:]))


def _own_faults(evidence: Evidence, rule: RegisterConfig) -> Iterator[str]:
    """Yield what speaks against a version whoever it is compared with."""
    for what, passed in (
        ("its canaries", evidence.canaries_pass),
        ("the quality gate of its samples", evidence.quality_passed),
        ("the audit of its chain", evidence.audit_passed),
    ):
        if passed is None:
            yield f"{what} was not checked"
        elif not passed:
            yield f"{what} failed"
    for name, loss in sorted(evidence.int8_loss.items()):
        if loss > rule.max_int8_loss:
            yield (
                f"int8 codes lose {loss:.3f} on {name}, more than the {rule.max_int8_loss:.3f} "
                "allowed"
            )


def _limits(evidence: Evidence, rule: RegisterConfig) -> Iterator[str]:
    """Yield which limits of size and speed are passed, or were not measured."""
    for what, ratio, limit in (
        ("takes {:.2f} times the champion's time per d-pixel", evidence.time_ratio,
         rule.max_time_ratio),
        ("has {:.2f} times the champion's parameters", evidence.size_ratio, rule.max_size_ratio),
    ):  # fmt: skip
        if ratio is None:
            yield f"size and speed were not measured (limit {limit:.2f})"
        elif ratio > limit:
            yield f"{what.format(ratio)}, more than the {limit:.2f} allowed"


def describe_override(alias: str, by: str, reason: str) -> Decision:
    """Return the decision of a person.

    Raises:
        InputError: Nobody is named, or no reason is given.
    """
    if not by.strip() or not reason.strip():
        raise InputError(
            "an override needs a name (--by) and a reason (--reason); both are kept for audits"
        )
    return Decision(alias=alias, reasons=(f"{by.strip()} decided: {reason.strip()}",))
