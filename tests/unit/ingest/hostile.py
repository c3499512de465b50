"""Values that no document should hold, put into every place of one."""

import copy
import json
from collections.abc import Iterator
from typing import Any

VALUES: list[Any] = [
    None, True, -1, 0, 1e9, 1e300, 10**400, float("inf"), float("nan"), 9999,
    "", "x", "32631", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "x" * 100_000,
    "a\0b", "\ud800", "../../../../etc/passwd", [], [None] * 4, [1e9] * 4, ["1"] * 4,
    [float("nan")] * 6, [[[]]], {}, {"x": {}},
]  # fmt: skip


def variants(document: Any) -> Iterator[tuple[str, str]]:
    """Yield where a value was put, and the document's text with it there."""
    for place in _places(document):
        for value in VALUES:
            changed = copy.deepcopy({"": document})
            part = changed
            for key in ("", *place)[:-1]:
                part = part[key]
            part[("", *place)[-1]] = value
            yield f"{place} = {value!r:.40}", json.dumps(changed[""])


def _places(part: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every part of a document, itself first; two of each list are enough."""
    yield place
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _places(value, (*place, key))
    elif isinstance(part, list):
        for index, value in enumerate(part[:2]):
            yield from _places(value, (*place, index))
