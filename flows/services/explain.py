"""``tessera compare --explain``: the gain, change by change, from ablation replays."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flows.adapters.versioning import fetch_contents
from flows.console import say
from flows.context import Context
from flows.services.models import FoundModel
from tessera_core.errors import RecordError
from tessera_core.records.evaluation import EVALUATION_NAME, SCORED
from tessera_core.records.files import read_json
from tessera_core.records.manifest import Manifest

if TYPE_CHECKING:
    from tessera_core.lineage.replay.ablation import Variant
    from tessera_core.lineage.replay.chain import Recorded

REMAINDER: Final = "together, beyond each alone"

Scores = Mapping[str, float]
"""Task -> score of its compared probe."""


def explain(
    context: Context, models: tuple[FoundModel, FoundModel], evaluations: Sequence[Path]
) -> dict[str, Any]:
    """Train the older of two versions with each group of changes and score every one.

    Args:
        context: Settings and places; all are asked the questions of these settings.
        models: The older and the newer one.
        evaluations: Their evaluations.

    Returns:
        ``tasks`` (with metric), ``rows`` (name, scores, gains over the older one, note) and
        ``findings``.

    Raises:
        RecordError: One of them was not trained in this checkout.
    """
    from tessera_core.lineage.replay.ablation import environment_change, plan_variants
    from tessera_core.lineage.replay.chain import find_recorded

    old, new = (find_recorded(Manifest.read(one.folder).digest, context.paths) for one in models)
    documents = [read_json(folder / EVALUATION_NAME) for folder in evaluations]
    tasks = _tasks(documents)
    first, last = (_scores(document, tasks) for document in documents)
    variants = plan_variants(old, new)
    rows = [_row(models[0].name, first, {})]
    findings = []
    for variant in variants:
        # A single group of changes is the newer version itself.
        is_all = len(variants) == 1
        scores, note = (last, "") if is_all else _score(context, variant, old, tasks)
        rows.append(_row(f"+ {variant.name}", scores, _gains(first, scores), note))
    gained = [row["gains"] for row in rows if row["gains"]]
    total = _gains(first, last)
    rest = {task: total[task] - sum(gains[task] for gains in gained) for task in total}
    if len(variants) > 1:
        rows.append(_row(REMAINDER, {}, rest))
    rows.append(_row(models[1].name, last, total))
    if change := environment_change(old, new, context.paths):
        findings.append(
            f"environment: {change}; another environment cannot be replayed here, so what it did "
            "is in the remainder, and every variant was trained with what is installed now"
        )
    if not variants:
        findings.append("no group of changes that can be replayed lies between the two")
    return {"tasks": tasks, "rows": rows, "findings": findings}


def explanation_lines(explanation: Mapping[str, Any]) -> list[str]:
    """Return the table in a few lines for a terminal."""
    lines = []
    for task in explanation["tasks"]:
        for row in explanation["rows"]:
            score = f"{row['scores'][task]:.3f}" if row["scores"] else ""
            gain = f"{row['gains'][task]:+.3f}" if row["gains"] else ""
            lines.append(f"  {task:<12} {row['name']:<28} {score:>7} {gain:>7}  {row['note']}")
    return [line.rstrip() for line in lines] + [f"  {one}" for one in explanation["findings"]]


def _score(
    context: Context, variant: "Variant", old: "Recorded", tasks: Mapping[str, str]
) -> tuple[Scores, str]:
    """Train and score a variant; what it scores on each task, or why it could not be trained."""
    from tessera_core.evaluate.job import evaluate_model
    from tessera_core.lineage.replay.ablation import trained

    say(f"  training     the older one with {variant.name} of the newer, from {variant.first} on")
    fetch = partial(fetch_contents, context.paths.root)
    try:
        with trained(variant, old, context.paths, fetch) as model:
            folder = evaluate_model(model, context.config, context.paths, with_baselines=False)
    except RecordError as error:
        return {}, f"not trained: {error}"
    return _scores(read_json(folder / EVALUATION_NAME), tasks), ""


def _tasks(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the metric of each task that both versions were scored on."""
    old, new = (one["tasks"] for one in evaluations)
    return {
        name: task["metric"]
        for name, task in new.items()
        if task["status"] == SCORED and old.get(name, {}).get("status") == SCORED
    }


def _scores(evaluation: Mapping[str, Any], tasks: Mapping[str, str]) -> Scores:
    scored = {name: evaluation["tasks"][name] for name in tasks}
    return {
        name: float(task["scores"][task["compared"]][tasks[name]]["mean"])
        for name, task in scored.items()
    }


def _gains(first: Scores, other: Scores) -> Scores:
    return {task: other[task] - first[task] for task in other}


def _row(name: str, scores: Scores, gains: Scores, note: str = "") -> dict[str, Any]:
    return {"name": name, "scores": dict(scores), "gains": dict(gains), "note": note}
