"""How an encoder stands on a task: the one sentence that every page and summary says.

The best baseline is always named first, whether it wins or loses; the others follow by verdict.
"""

from collections.abc import Mapping
from typing import Any, Final

from tessera_core.domain.scores import METRICS
from tessera_core.records.words import model_label, shown, signed

OWN: Final = "encoder"
"""How features of the version itself begin, its int8 codes and prefixes included."""

BELOW: Final = "below"
UNCLEAR: Final = "no clear difference from"
ABOVE: Final = "above"

Estimate = Mapping[str, float]
"""``mean``, ``low`` and ``high``."""


def is_baseline(model: str) -> bool:
    """Return whether a model of a task is something else than the version that is scored.

    >>> is_baseline("encoder_int8/linear"), is_baseline("random_encoder/linear")
    (False, True)
    """
    return not model.startswith(OWN)


def standings(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return scored task -> sentence, from what the receipt of an evaluation says.

    Receipts of earlier code tell no differences: there the best baseline is named without verdict.
    """
    found = {}
    for task, models in facts["headline"].items():
        compared = facts.get("compared", {}).get(task)
        if compared in models:
            (metric,) = models[compared]
            scores = {model: values[metric] for model, values in models.items()}
            told = facts.get("differences", {}).get(task, {})
            found[task] = describe_standing(metric, compared, scores, told)
    return found


def report_standing(report: Mapping[str, Any]) -> str:
    """Return the sentence of a scored task, from its part of evaluation.json."""
    metric = report["metric"]
    scores = {model: values[metric] for model, values in report["scores"].items()}
    return describe_standing(metric, report["compared"], scores, main_differences(report))


def main_differences(report: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return baseline -> how much the compared model is above it, in the task's first metric."""
    return {
        name.split(" - ")[1]: values[report["metric"]]
        for name, values in report["differences"].items()
    }


def describe_standing(
    metric: str,
    compared: str,
    scores: Mapping[str, Estimate],
    differences: Mapping[str, Estimate],
) -> str:
    """Return a model's score and how it stands beside the baselines, the best of them first.

    Args:
        metric: In which the scores are.
        compared: The model.
        scores: Model -> score, of baselines too.
        differences: Baseline -> score of the model minus its score.
    """
    own = scores[compared]
    spread = f"{shown(own['low'], metric)} to {shown(own['high'], metric)}"
    said = f"{METRICS[metric].title} {shown(own['mean'], metric)} ({spread})"
    sign = 1.0 if METRICS[metric].higher_is_better else -1.0
    ranked = sorted(
        (name for name in scores if is_baseline(name)),
        key=lambda name: (-sign * scores[name]["mean"], name),
    )
    if not ranked:
        return f"{said}; no baseline was asked"
    best, *others = ranked
    which = "the best baseline" if others else "the only baseline that was asked"
    value = f"{model_label(best)}, {shown(scores[best]['mean'], metric)}"
    if best not in differences:
        return f"{said}; {which} is {value}"
    told = {name: _amount(name, metric, differences) for name in ranked if name in differences}
    parts = [
        f"{_verdict(differences[best], sign)} {which}, {value} "
        f"({signed(differences[best]['mean'], metric)})"
    ]
    for verdict in (BELOW, UNCLEAR, ABOVE):
        names = [
            told[name]
            for name in others
            if name in told and _verdict(differences[name], sign) == verdict
        ]
        if names:
            parts.append(f"{verdict} {', '.join(names)}")
    return f"{said}: {'; '.join(parts)}"


def _verdict(difference: Estimate, sign: float) -> str:
    """Return what an interval says: it must leave zero out."""
    low, high = sorted(sign * difference[end] for end in ("low", "high"))
    return ABOVE if low > 0 else BELOW if high < 0 else UNCLEAR


def _amount(name: str, metric: str, differences: Mapping[str, Estimate]) -> str:
    return f"{model_label(name)} ({signed(differences[name]['mean'], metric)})"
