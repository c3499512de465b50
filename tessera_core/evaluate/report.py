"""The report: one HTML page with everything inside, readable without network."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tessera_core.domain.scores import METRICS, is_share, metric_title
from tessera_core.evaluate.tracking import REPORT_NAME
from tessera_core.evaluate.words import model_label
from tessera_core.records.evaluation import SCORED
from tessera_core.records.page import render_page

TEMPLATE_NAME: Final = "report.html.j2"


def write_report(folder: Path, evaluation: Mapping[str, Any]) -> None:
    """Write the report of a folder with its figures inside."""
    figures = {
        path.stem: base64.b64encode(path.read_bytes()).decode()
        for path in sorted(folder.glob("*.png"))
    }
    (folder / REPORT_NAME).write_text(render_report(evaluation, figures), encoding="utf-8")


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
        "metric_title": metric_title,
        "model_label": model_label,
    }
    filters = {"shown": shown, "signed": signed}
    return render_page(Path(__file__).with_name(TEMPLATE_NAME), filters, values)


def headlines(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what the scores say, one sentence per scored task."""
    return [
        _headline(report) for report in evaluation["tasks"].values() if report["status"] == SCORED
    ]


def _headline(report: Mapping[str, Any]) -> str:
    metric = report["metric"]
    score = report["scores"][report["compared"]][metric]
    found: dict[str, list[str]] = {"above": [], "below": [], "no clear difference from": []}
    for comparison, scores in report["differences"].items():
        difference = scores[metric]
        amount = f"{model_label(comparison.split(' - ')[1])} ({signed(difference['mean'], metric)})"
        if METRICS[metric].higher_is_better:
            is_above, is_below = difference["low"] > 0, difference["high"] < 0
        else:
            is_above, is_below = difference["high"] < 0, difference["low"] > 0
        verdict = "above" if is_above else "below" if is_below else "no clear difference from"
        found[verdict].append(amount)
    said = [f"{verdict} {', '.join(names)}" for verdict, names in found.items() if names]
    return (
        f"{report['title']}: {metric_title(metric)} {shown(score['mean'], metric)} "
        f"({shown(score['low'], metric)} to {shown(score['high'], metric)}) in places that the "
        f"probe never saw{': ' if said else ''}{'; '.join(said)}."
    )


def shown(value: float, metric: str) -> str:
    """Return a score as text.

    >>> shown(0.8125, "accuracy"), shown(0.5, "r2")
    ('81.2 %', '0.50')
    """
    return f"{100 * value:.1f} %" if is_share(metric) else f"{value:.2f}"


def signed(value: float, metric: str) -> str:
    """Return a difference as text; shares in percentage points.

    >>> signed(0.031, "accuracy"), signed(-0.2, "r2")
    ('+3.1 points', '-0.20')
    """
    return f"{100 * value:+.1f} points" if is_share(metric) else f"{value:+.2f}"
