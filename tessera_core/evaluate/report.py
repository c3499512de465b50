"""The report: one HTML page with everything inside, readable without network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tessera_core.evaluate.tasks.result import SCORED
from tessera_core.model.config import MATRYOSHKA_DIMS
from tessera_core.records.page import render_page

TEMPLATE_NAME: Final = "report.html.j2"

METRIC_LABELS: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "r2": "R\u00b2",
    "global_rmse_m": "RMSE over all d-pixels, m",
}
MODEL_LABELS: Final = {
    "encoder/linear": "trained encoder, linear probe",
    "encoder_int8/linear": "trained encoder, int8, linear probe",
    **{
        f"encoder_{dim}/linear": f"trained encoder, first {dim} values, linear probe"
        for dim in MATRYOSHKA_DIMS
    },
    "encoder/knn": "trained encoder, nearest neighbours",
    "encoder/ridge": "trained encoder, ridge regression",
    "random_encoder/linear": "untrained encoder, linear probe",
    "random_encoder/knn": "untrained encoder, nearest neighbours",
    "random_encoder/ridge": "untrained encoder, ridge regression",
    "raw_forest": "random forest on monthly band values",
    "raw/linear": "linear probe on monthly band values",
    "raw/ridge": "ridge regression on monthly band values",
    "majority": "most frequent class",
}
IS_SHARE: Final = ("accuracy", "balanced_accuracy", "macro_f1")
"""Metrics shown in per cent."""

HEADLINES: Final = {
    "crop_type": ("encoder/linear", "accuracy", "Crop type"),
    "canopy_height": ("encoder/ridge", "r2", "Canopy height"),
}


def render_report(evaluation: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Return the report as HTML.

    Args:
        evaluation: The content of evaluation.json.
        figures: Figure name -> PNG in base64; what is missing is left out.
    """
    values = {
        "evaluation": evaluation,
        "figures": figures,
        "sentences": headlines(evaluation),
        "metric_labels": METRIC_LABELS,
        "model_labels": MODEL_LABELS,
        "shares": IS_SHARE,
    }
    filters = {"shown": shown, "signed": signed}
    return render_page(Path(__file__).with_name(TEMPLATE_NAME), filters, values)


def headlines(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what the scores say, one sentence per task and comparison."""
    sentences = []
    for task, (model, metric, title) in HEADLINES.items():
        report = evaluation["tasks"][task]
        if report["status"] != SCORED:
            sentences.append(f"{title} was skipped: {report['reason']}.")
            continue
        score = report["scores"][model][metric]
        sentences.append(
            f"{title}: {METRIC_LABELS[metric]} {shown(score['mean'], metric)} "
            f"({shown(score['low'], metric)} to {shown(score['high'], metric)}) in places that "
            "the probe never saw."
        )
        for comparison, scores in report["differences"].items():
            sentences.append(_compare(comparison, metric, scores[metric]))
    return sentences


def _compare(comparison: str, metric: str, difference: Mapping[str, float]) -> str:
    baseline = MODEL_LABELS[comparison.split(" - ")[1]]
    span = f"{signed(difference['low'], metric)} to {signed(difference['high'], metric)}"
    amount = signed(difference["mean"], metric)
    if difference["low"] > 0:
        return f"Better than {baseline} by {amount} ({span})."
    if difference["high"] < 0:
        return f"Worse than {baseline} by {amount} ({span})."
    return f"No clear difference from {baseline}: {amount} ({span}), an interval that holds 0."


def shown(value: float, metric: str) -> str:
    """Return a score as text.

    >>> shown(0.8125, "accuracy"), shown(0.5, "r2")
    ('81.2 %', '0.50')
    """
    return f"{100 * value:.1f} %" if metric in IS_SHARE else f"{value:.2f}"


def signed(value: float, metric: str) -> str:
    """Return a difference as text; shares in percentage points.

    >>> signed(0.031, "accuracy"), signed(-0.2, "r2")
    ('+3.1 points', '-0.20')
    """
    return f"{100 * value:+.1f} points" if metric in IS_SHARE else f"{value:+.2f}"
