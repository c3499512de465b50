"""When a challenger becomes champion: a pure function of what both did on the same questions.

Every group (field, block, chip) is resampled for both versions at once, so differences are paired.
A challenger must be better on at least one report task, at a level that is shared out over all
tasks, so that a version which is no better is promoted in at most ``ALPHA`` of all cases; and on
every other task it must be no worse than the task's margin. Where nothing scored serves yet,
``first`` says what a version must have earned. See docs/decisions/0005.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bootstrap import DIGITS, expanded_tail
from tessera_core.domain.scores import METRICS, Unit
from tessera_core.errors import InputError
from tessera_core.register.config import RegisterConfig
from tessera_core.register.first import FIRST, Baselines, judge_first
from tessera_core.register.paired import (
    ALPHA,
    MIN_GROUPS,
    NUM_RESAMPLES,
    SHARED_OUT,
    TaskEvidence,
    gains,
    score_of,
    sign_of,
)

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"

MAX_WORDS: Final = 500
"""Characters of a person's name or reason; they are shown on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that the rule looks at. None stands for what was not measured."""

    tasks: tuple[TaskEvidence, ...] = ()
    """Report tasks that both versions were asked."""

    missing: Mapping[str, str] = field(default_factory=dict)
    """Task -> why it cannot be compared, where only one version has a score, or they were asked
    other questions."""

    baselines: Baselines = field(default_factory=dict)
    """What a version without a champion to beat is set against, for every task it was scored on."""

    int8_loss: Mapping[str, float] = field(default_factory=dict)
    """Task -> how much worse the challenger's int8 codes score than its float32 values, as
    ``limited_loss`` tells it."""

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
        has_champion: Without one that was ever scored, ``judge_first`` decides.
    """
    blocked = list(_own_faults(evidence))
    if not has_champion:
        first = judge_first(evidence.baselines)
        blocked += first.blocks
        return Decision(
            alias=CHALLENGER if blocked else CHAMPION,
            reasons=(*blocked, FIRST, *first.told),
            numbers={**first.numbers, **_measured(evidence)},
        )
    missing = dict(evidence.missing) | {
        task.name: f"it has {len(task.champion)} groups, and resampling needs {MIN_GROUPS}"
        for task in evidence.tasks
        if len(task.champion) < MIN_GROUPS
    }
    tasks = sorted(
        (task for task in evidence.tasks if task.name not in missing), key=lambda task: task.name
    )
    level = SHARED_OUT / max(len(tasks), 1)
    found = [_judge(task, level, rule) for task in tasks]
    blocked += [f"{name} cannot be compared: {why}" for name, why in sorted(missing.items())]
    blocked += list(_limits(evidence, rule))
    blocked += [reason for one in found for reason in one.blocks]
    superior = [one for one in found if one.is_superior]
    if not tasks:
        blocked.append("no task was asked of both versions, so they cannot be compared")
    elif not superior:
        blocked.append(
            f"better on none of {len(tasks)} tasks at the level of {level:.3f} each "
            f"({SHARED_OUT:.2f} over all)"
        )
    told = [one.sentence for one in (*superior, *(each for each in found if not each.is_superior))]
    if evidence.bridge is not None:
        told.append(f"embeddings of the two versions are {evidence.bridge}")
    return Decision(
        alias=CHALLENGER if blocked else CHAMPION,
        reasons=(*blocked, *told),
        numbers={
            "alpha": ALPHA,
            "level_over_all_tasks": SHARED_OUT,
            "level_per_task": round(level, DIGITS),
            "num_resamples": NUM_RESAMPLES,
            "tasks": {one.name: dict(one.numbers) for one in found},
            "missing": dict(sorted(missing.items())),
            **_measured(evidence),
        },
    )


def limited_loss(metric: str, before: float, after: float) -> float:
    """Return how much worse a score has become, as the rule's limits count it; 0 = not at all.

    Shares and R2 are compared as they are. An error in the unit of the truth is put in relation
    to what it was before, since 0.1 m of height and 0.1 Mg/ha of biomass are not alike.

    >>> limited_loss("accuracy", 0.75, 0.5), limited_loss("global_rmse", 4.0, 5.0)
    (0.25, 0.25)
    """
    sign = 1.0 if METRICS[metric].higher_is_better else -1.0
    loss = sign * (before - after)
    if METRICS[metric].unit == Unit.OF_TRUTH:
        loss = loss / abs(before) if before else float(np.sign(loss))
    return loss


def _measured(evidence: Evidence) -> dict[str, Any]:
    """Return what was measured of the versions beside their scores on tasks."""
    losses = sorted(evidence.int8_loss.items())
    return {
        "int8_loss": {name: round(loss, DIGITS) for name, loss in losses},
        "time_ratio": evidence.time_ratio,
        "size_ratio": evidence.size_ratio,
        "bridge": evidence.bridge,
    }


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
    old, new = (score_of(task, tally) for tally in (task.champion, task.challenger))
    drawn = gains(task, np.ones(num_groups, np.bool_))
    wide, narrow = expanded_tail(ALPHA, num_groups), expanded_tail(level, num_groups)
    low, strict, high = map(float, np.quantile(drawn, [wide, narrow, 1 - wide]))
    gain = sign_of(task) * (new - old)
    is_superior, is_kept = strict > 0, low > -task.margin
    sentence = (
        f"{task.name}: {task.metric} {new:.3f} against {old:.3f}, gain {gain:+.3f} "
        f"[{low:+.3f}, {high:+.3f}] over {num_groups} groups: "
        f"{'better' if is_superior else 'no worse' if is_kept else 'may be worse'}"
    )
    blocks = [] if is_kept else [
        f"{task.name} may be worse by {-low:.3f} in {task.metric}, more than the {task.margin:.3f} "
        "allowed"
    ]  # fmt: skip
    regions = dict(_regions(task, rule.max_region_loss))
    blocks += [
        f"{task.name} falls by {-one['gain']:.3f} in region {name}, more than the "
        f"{rule.max_region_loss:.3f} allowed{_relation(task)}, and hardly by chance"
        for name, one in regions.items()
        if one["has_fallen"]
    ]
    numbers = {
        "metric": task.metric,
        "champion": old,
        "challenger": new,
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


def _regions(task: TaskEvidence, limit: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield how much each region with enough groups gains, and whether it has fallen too far.

    It has where the fall is beyond the limit and the interval, at a level shared out over the
    regions, lies below zero: a small region swings, and there are many.
    """
    names = [
        name
        for name in np.unique(task.region)
        if name and MIN_GROUPS <= (task.region == name).sum() < len(task.region)
    ]
    for name in names:
        inside = task.region == name
        old, new = (score_of(task, tally[inside]) for tally in (task.champion, task.challenger))
        loss = limited_loss(task.metric, old, new)
        numbers = {
            "champion": old,
            "challenger": new,
            "gain": sign_of(task) * (new - old),
            "loss": loss,
        }
        rounded = {what: round(value, DIGITS) for what, value in numbers.items()}
        has_fallen = loss > limit and _is_below_zero(task, inside, ALPHA / len(names))
        yield str(name), {**rounded, "has_fallen": has_fallen}


def _is_below_zero(task: TaskEvidence, inside: npt.NDArray[np.bool_], level: float) -> bool:
    tail = expanded_tail(level, int(inside.sum()))
    return bool(np.quantile(gains(task, inside), 1 - tail) < 0)


def _relation(task: TaskEvidence) -> str:
    relative = METRICS[task.metric].unit == Unit.OF_TRUTH
    return " as a share of the champion's" if relative else ""


def _own_faults(evidence: Evidence) -> Iterator[str]:
    """Yield what speaks against a version whoever it is compared with."""
    for what, verb, passed in (
        ("its canaries", "were", evidence.canaries_pass),
        ("the quality gate of its samples", "was", evidence.quality_passed),
        ("the audit of its chain", "was", evidence.audit_passed),
    ):
        if passed is None:
            yield f"{what} {verb} not checked"
        elif not passed:
            yield f"{what} failed"


def _limits(evidence: Evidence, rule: RegisterConfig) -> Iterator[str]:
    """Yield which limits of int8, speed and size are passed, or were not measured."""
    for name in sorted({task.name for task in evidence.tasks} | set(evidence.int8_loss)):
        loss = evidence.int8_loss.get(name)
        if loss is None:
            yield f"int8 codes were not scored on {name} (limit {rule.max_int8_loss:.3f})"
        elif loss > rule.max_int8_loss:
            yield (
                f"int8 codes lose {loss:.3f} on {name}, more than the {rule.max_int8_loss:.3f} "
                "allowed"
            )
    for what, ratio, limit in (
        ("time per d-pixel", evidence.time_ratio, rule.max_time_ratio),
        ("number of parameters", evidence.size_ratio, rule.max_size_ratio),
    ):
        if ratio is None:
            yield f"the {what} was not measured against the champion's (limit {limit:.2f} times)"
        elif ratio > limit:
            yield (
                f"the {what} is {ratio:.2f} times the champion's, more than the {limit:.2f} allowed"
            )


def describe_override(alias: str, by: str, reason: str) -> Decision:
    """Return the decision of a person.

    Raises:
        InputError: Nobody is named, or no reason is given.
    """
    if not by.strip() or not reason.strip():
        raise InputError(
            "an override needs a name (--by) and a reason (--reason); both are kept for audits"
        )
    for name, words in (("--by", by), ("--reason", reason)):
        if len(words) > MAX_WORDS or not words.strip().isprintable():
            raise InputError(
                f"{name} has {len(words)} characters, expected one line of at most {MAX_WORDS}"
            )
    return Decision(alias=alias, reasons=(f"{by.strip()} decided: {reason.strip()}",))
