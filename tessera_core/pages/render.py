"""One way to render the project's pages: self-contained HTML, strict about missing values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def render_page(
    template: str, filters: Mapping[str, Callable[..., object]], values: Mapping[str, Any]
) -> str:
    """Return a Jinja template filled with values; a value that it lacks is an error.

    Args:
        template: Name of an ``.html.j2`` file in this folder.
        filters: Functions the template may apply, by name.
        values: What the template shows; everything is escaped.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)
