"""The report: one HTML page with everything inside, readable without network."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tessera_core.domain.scores import metric_title
from tessera_core.pages.render import render_page
from tessera_core.records.evaluation import REPORT_NAME, SCORED
from tessera_core.records.standing import report_standing
from tessera_core.records.words import model_label, shown, signed

TEMPLATE_NAME: Final = "evaluation.html.j2"


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
    return render_page(TEMPLATE_NAME, filters, values)


def headlines(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what the scores say, one sentence per scored task."""
    return [
        f"{report['title']}, in places that the probe never saw: {report_standing(report)}."
        for report in evaluation["tasks"].values()
        if report["status"] == SCORED
    ]
