"""The page of a quality report."""

from collections.abc import Mapping
from typing import Any, Final

from tessera_core.pages.render import render_page
from tessera_core.records.words import MONTHS

TEMPLATE_NAME: Final = "quality.html.j2"
BAR_TOP: Final = 12_000
"""Stored units at the right end of the bars: fresh snow, and VV of dense towns."""


def render_quality(content: Mapping[str, Any]) -> str:
    """Return the page: no script, no font, no style sheet from anywhere else."""
    tiles = sorted(content["tiles"], key=lambda tile: tile["verdict"] == "passed")
    values = {
        **content,
        "tiles": tiles,
        "months": MONTHS,
        "bar_top": BAR_TOP,
        "most_clear": max(1.0, *(max(tile["clear_by_month"]) for tile in tiles)),
    }
    filters = {"number": format_number, "percent": format_percent}
    return render_page(TEMPLATE_NAME, filters, values)


def format_number(value: int | float | None) -> str:
    """Return a number for reading: thousands apart, at most two decimals, a dash for None."""
    if value is None:
        return "-"
    text = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_percent(value: float | None) -> str:
    """Return a share 0..1 as per cent; a share that is not 0 never reads as 0."""
    if value is None:
        return "-"
    if 0 < value < 0.0001:
        return "<0.01 %"
    return f"{format_number(100 * float(value))} %"
