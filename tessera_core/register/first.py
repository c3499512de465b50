"""What a first version must have earned: more than its untrained weights and than no encoder.

With nothing to compare it with but its own baselines, a version serves when it is better than the
encoder before training and than the most frequent class (or the mean) on one task, both, and
worse than neither on any. See docs/decisions/0005.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tessera_core.domain.bootstrap import DIGITS, expanded_tail
from tessera_core.domain.scores import Kind
from tessera_core.records.evaluation import UNSCORED
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

UNTRAINED: Final = "untrained"
CONSTANT: Final = "constant"
TO_BEAT: Final = (UNTRAINED, CONSTANT)
"""Baselines that a first version must beat."""

Baselines = Mapping[str, Mapping[str, TaskEvidence]]
"""Scored task -> baseline -> answers of both; the baseline stands in the champion's place."""

FIRST: Final = "first version: there is no champion yet"
NEXT: Final = (
    "so it stays challenger and nothing is exported: train it longer or on more pixels, bring "
    "more labels, or overrule this with `tessera promote`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstVerdict:
    """What the scores say for and against a first version."""

    blocks: tuple[str, ...]
    """Why it may not serve; empty where it may."""

    told: tuple[str, ...]
    """What was found, the gains first."""

    numbers: Mapping[str, Any]
    """All numbers, as plain JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """An encoder and one baseline on one task."""

    task: TaskEvidence
    baseline: str
    is_better: bool
    is_worse: bool
    numbers: Mapping[str, float]

    @property
    def sentence(self) -> str:
        verb = "does not clearly beat"
        if self.is_better or self.is_worse:
            verb = "beats" if self.is_better else "loses to"
        task, one = self.task, self.numbers
        return (
            f"{task.name} {verb} {self.words}: {task.metric} {one['encoder']:.3f} against "
            f"{one['baseline']:.3f}, gain {one['gain']:+.3f} "
            f"[{one['low']:+.3f}, {one['high']:+.3f}] over {len(task.champion)} groups"
        )

    @property
    def words(self) -> str:
        if self.baseline == UNTRAINED:
            return "the untrained encoder"
        return "the mean" if self.task.kind == Kind.REGRESSION else "the most frequent class"


def judge_first(baselines: Baselines) -> FirstVerdict:
    """Return whether the scores let a version serve that has no champion to beat.

    Args:
        baselines: Every scored task; one without both baselines cannot tell anything for it.
    """
    if not baselines:
        return FirstVerdict(blocks=(), told=(UNSCORED,), numbers={"unscored": True})
    silent = dict(_silent(baselines))
    tasks = [name for name in sorted(baselines) if name not in silent]
    level = SHARED_OUT / max(len(tasks), 1)
    found = {
        name: [_compare(baselines[name][each], each, level) for each in TO_BEAT] for name in tasks
    }
    pairs = [pair for both in found.values() for pair in both]
    blocks = [pair.sentence for pair in pairs if pair.is_worse]
    if not any(all(pair.is_better for pair in both) for both in found.values()):
        blocks.append(
            "it beats the untrained encoder and the answer without any encoder on no task, of "
            f"{len(tasks)} that can tell, at the level of {level:.3f} each "
            f"({SHARED_OUT:.2f} over all)"
        )
    told = [pair.sentence for pair in sorted(pairs, key=lambda pair: not pair.is_better)]
    told = [sentence for sentence in told if sentence not in blocks]
    told += [f"{name} cannot tell: {why}" for name, why in sorted(silent.items())]
    return FirstVerdict(
        blocks=(*blocks, NEXT) if blocks else (),
        told=tuple(told),
        numbers={
            "unscored": False,
            "alpha": ALPHA,
            "level_over_all_tasks": SHARED_OUT,
            "level_per_task": round(level, DIGITS),
            "num_resamples": NUM_RESAMPLES,
            "baselines": {
                name: {pair.baseline: _plain(pair) for pair in both} for name, both in found.items()
            },
            "silent": silent,
        },
    )


def _silent(baselines: Baselines) -> Iterator[tuple[str, str]]:
    """Yield tasks that can tell nothing, and why."""
    for name, pairs in baselines.items():
        if len(pairs) < len(TO_BEAT):
            yield name, "a baseline has no answers to the same questions"
        elif (num_groups := len(pairs[UNTRAINED].champion)) < MIN_GROUPS:
            yield name, f"it has {num_groups} groups, and resampling needs {MIN_GROUPS}"


def _compare(task: TaskEvidence, baseline: str, level: float) -> _Pair:
    num_groups = len(task.champion)
    drawn = gains(task, np.ones(num_groups, np.bool_))
    wide, narrow = expanded_tail(ALPHA, num_groups), expanded_tail(level, num_groups)
    low, strict, high = map(float, np.quantile(drawn, [wide, narrow, 1 - wide]))
    old, new = (score_of(task, tally) for tally in (task.champion, task.challenger))
    return _Pair(
        task=task,
        baseline=baseline,
        is_better=strict > 0,
        is_worse=high < 0,
        numbers={
            "encoder": new,
            "baseline": old,
            "gain": sign_of(task) * (new - old),
            "low": low,
            "high": high,
            "low_for_superiority": strict,
        },
    )


def _plain(pair: _Pair) -> dict[str, Any]:
    rounded = {name: round(value, DIGITS) for name, value in pair.numbers.items()}
    return {
        "metric": pair.task.metric,
        "num_groups": len(pair.task.champion),
        **rounded,
        "is_better": pair.is_better,
        "is_worse": pair.is_worse,
    }
