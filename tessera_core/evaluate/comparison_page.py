"""The comparison page: one HTML file about two versions, readable without network."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tessera_core.domain.scores import metric_title
from tessera_core.evaluate.report import shown, signed
from tessera_core.evaluate.words import model_label
from tessera_core.records.page import render_page

TEMPLATE_NAME: Final = "comparison.html.j2"


def render_comparison(content: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        content: ``names`` of both, their ``evaluations``, the ``comparison`` (bridge, size,
            speed), ``changes`` (rows), ``decision`` and ``groups`` that changed most.
    """
    values = {
        **content,
        "figures": _figures(content),
        "simulated": any(one["simulated"] for one in content["evaluations"]),
        "metric_title": metric_title,
        "model_label": model_label,
    }
    filters = {"shown": shown, "signed": signed}
    return render_page(Path(__file__).with_name(TEMPLATE_NAME), filters, values)


def _figures(content: Mapping[str, Any]) -> dict[str, str]:
    """Return task -> label-efficiency curves of both as PNG in base64, where both have one."""
    from tessera_core.evaluate.pair_figures import draw_two_curves

    old, new = content["evaluations"]
    figures = {}
    for name, report in new["tasks"].items():
        before = old["tasks"].get(name)
        if before is None or before["curve"] is None or report["curve"] is None:
            continue
        figure = draw_two_curves(before, report, content["names"], is_simulated=new["simulated"])
        picture = io.BytesIO()
        figure.savefig(picture, dpi=130, metadata={"Software": None}, facecolor="white")
        figures[name] = base64.b64encode(picture.getvalue()).decode()
    return figures
