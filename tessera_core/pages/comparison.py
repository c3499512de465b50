"""The comparison page: one HTML file about two versions, readable without network."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tessera_core.domain.scores import metric_title
from tessera_core.pages.render import render_page
from tessera_core.records.evaluation import SCORED
from tessera_core.records.standing import report_standing
from tessera_core.records.words import shown, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE_NAME: Final = "comparison.html.j2"
DOTS_PER_INCH: Final = 130


BRIDGE_WORDS: Final = {
    "cka": "similarity of all pairs of d-pixels (CKA), 1 = the same",
    "neighbour_overlap": "nearest neighbours that both share, 1 = all",
    "probe_transfer": "accuracy that a probe of the first keeps on mapped embeddings of the second",
    "procrustes_error": "held-out error of the best rotation, 0 = none",
    "affine_error": "held-out error of the best affine map, 0 = none",
    "raw_error": "for comparison: held-out error of a map from monthly band values",
    "num_anchors": "d-pixels that the maps were fitted on",
}
"""What each number of the bridge says."""


def render_comparison(content: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        content: ``names`` of both, their ``evaluations``, the ``comparison`` (bridge, size,
            speed), ``changes`` (rows), ``decision``, ``groups`` that changed most, and
            ``explanation``: tasks, rows and findings of ablation replays, or None.
    """
    values = {
        **content,
        "figures": _figures(content),
        "simulated": any(one["simulated"] for one in content["evaluations"]),
        "metric_title": metric_title,
        "bridge_words": BRIDGE_WORDS,
        "standings": list(_standings(content)),
        "unscored": [
            name
            for name, one in zip(content["names"], content["evaluations"], strict=True)
            if not any(report["status"] == SCORED for report in one["tasks"].values())
        ],
    }
    filters = {"shown": shown, "signed": signed}
    return render_page(TEMPLATE_NAME, filters, values)


def _standings(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield task, version and how it stands beside its baselines."""
    for task in content["evaluations"][1]["tasks"]:
        for name, one in zip(content["names"], content["evaluations"], strict=True):
            report = one["tasks"].get(task)
            if report is not None and report["status"] == SCORED:
                yield report["title"], name, report_standing(report)


def _figures(content: Mapping[str, Any]) -> dict[str, str]:
    """Return figures about both versions as PNG in base64, by what they show.

    Label-efficiency curves of every task that has one on both sides, then the two spectra.
    """
    from tessera_core.pages.pair_figures import draw_spectra, draw_two_curves

    old, new = content["evaluations"]
    names, is_simulated = content["names"], new["simulated"]
    figures = {}
    for task, report in new["tasks"].items():
        before = old["tasks"].get(task)
        if before is None or before["curve"] is None or report["curve"] is None:
            continue
        figure = draw_two_curves(before, report, names, is_simulated=is_simulated)
        figures[f"Label-efficiency curves, {report['title'].lower()}"] = _encode(figure)
    spectra = [one["diagnostics"].get("rank_me", {}).get("spectrum") for one in (old, new)]
    if all(spectra):
        figure = draw_spectra(dict(zip(names, spectra, strict=True)), is_simulated=is_simulated)
        figures["Spectra of the embeddings"] = _encode(figure)
    return figures


def _encode(figure: "Figure") -> str:
    picture = io.BytesIO()
    figure.savefig(picture, dpi=DOTS_PER_INCH, metadata={"Software": None}, facecolor="white")
    return base64.b64encode(picture.getvalue()).decode()
