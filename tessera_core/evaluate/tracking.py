"""What the tracker gets: every score as one flat metric, the curve with labels as its steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tessera_core.ports import Tracker
from tessera_core.records.evaluation import EVALUATION_NAME, REPORT_NAME, SCORED
from tessera_core.records.files import read_json


def log_evaluation(folder: Path, tracker: Tracker) -> None:
    """Log scores, figures and report of an evaluation folder."""
    log_scores(tracker, read_json(folder / EVALUATION_NAME))
    for path in (folder / REPORT_NAME, folder / EVALUATION_NAME, *sorted(folder.glob("*.png"))):
        tracker.log_artifact(path, "evaluation")


def log_scores(tracker: Tracker, evaluation: Mapping[str, Any]) -> None:
    """Log all scores of an evaluation.

    Scores and differences are logged at step 0. The label-efficiency curve is logged with the
    number of labels per class as the step, so that a tracking server draws it by itself.
    """
    tracker.log_metrics(0, flat_metrics(evaluation))
    for name, report in evaluation["tasks"].items():
        curve = report["curve"]
        for position, count in enumerate(curve["labels_per_class"] if curve else ()):
            tracker.log_metrics(
                count,
                {
                    f"{name}/curve/{metric_name(model)}": series["mean"][position]
                    for model, series in curve["series"].items()
                },
            )


def flat_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return ``task/model/metric`` -> value, with ``_low`` and ``_high`` for the intervals."""
    metrics = {}
    for task, report in evaluation["tasks"].items():
        if report["status"] != SCORED:
            continue
        for model, scores in [*report["scores"].items(), *report["differences"].items()]:
            for metric, parts in scores.items():
                stem = f"{task}/{metric_name(model)}/{metric}"
                metrics[stem] = parts["mean"]
                metrics[f"{stem}_low"] = parts["low"]
                metrics[f"{stem}_high"] = parts["high"]
    return metrics


def metric_name(model: str) -> str:
    """Return a model or difference as one segment that tracking servers accept.

    >>> metric_name("encoder/linear - raw/forest")
    'encoder_linear_minus_raw_forest'
    """
    return model.replace(" - ", "_minus_").replace("/", "_")
