"""The lineage as a drawing: where each receipt stands, and the lines between them.

Stages go from left to right; a run is a band, and runs that share receipts share boxes. Above a
band's middle stands quality, below it evaluate, so that no line crosses a box::

    scenes - ingest - quality - shuffle - pretrain - evaluate - register - export
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tessera_core.audit.report import GRADES, AuditReport, Step, sources_of

BOX_WIDTH, BOX_HEIGHT = 116, 70
COLUMN_WIDTH, LEVEL_HEIGHT, MARGIN = 150, 84, 8
GAP: Final = COLUMN_WIDTH - BOX_WIDTH
LANE: Final = 20
"""Room above a band for the line from ingest to export."""

LEVELS: Final = 3
"""Levels of a band: above, middle, below."""

COLUMNS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "ingest": (1, 1),
        "quality": (2, 0),
        "shuffle": (3, 1),
        "pretrain": (4, 1),
        "evaluate": (5, 2),
        "register": (6, 1),
        "export": (7, 1),
    }
)
"""Stage -> column, level in its band."""

MIDDLE: Final = 1
SOUND: Final = "sound"
SHORT: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One receipt, or the scenes before it."""

    x: int
    """Left edge."""

    y: int
    """Upper edge."""

    title: str
    """Stage, or what came before all of them."""

    lines: tuple[str, ...]
    """Digest, commit and what its gate said, or a count."""

    grade: str
    """Worst finding about it, ``sound`` where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Boxes and lines, in units of the drawing."""

    width: int
    """Of the drawing."""

    height: int
    """Of the drawing."""

    boxes: tuple[Box, ...]
    """Drawn last, over the lines."""

    lines: tuple[str, ...]
    """SVG paths, from what is stood on to what stands on it."""


def draw(report: AuditReport) -> Graph:
    """Return the drawing of an audit's receipts."""
    steps = {step.digest: step for step in report.steps if step.stage in COLUMNS}
    bands = _bands(report.start, steps)
    places = {digest: _corner(steps[digest].stage, band) for digest, band in bands.items()}
    worst = _worst(report)
    boxes = [_box(steps[digest], *places[digest], worst) for digest in places]
    lines = list(_lines(steps, places))
    for digest, (x, y) in places.items():
        if steps[digest].num_sources and steps[digest].stage == "ingest":
            left = x - COLUMN_WIDTH
            boxes.append(_scenes(steps[digest], left, y, worst))
            lines.append(_path((left, y), (x, y)))
    height = MARGIN + (max(bands.values(), default=0) + 1) * (LANE + LEVELS * LEVEL_HEIGHT)
    width = 2 * MARGIN + max(column for column, _ in COLUMNS.values()) * COLUMN_WIDTH + BOX_WIDTH
    return Graph(width=width, height=height, boxes=tuple(boxes), lines=tuple(lines))


def _bands(start: str, steps: Mapping[str, Step]) -> dict[str, int]:
    """Return the band of each receipt: its run's, or the next that is free at its stage."""
    bands: dict[str, int] = {}
    taken: set[tuple[str, int]] = set()
    # Every receipt that is there is drawn, also one that a broken chain no longer leads to.
    waiting = [(digest, 0) for digest in sorted(steps, key=lambda digest: digest != start)]
    while waiting:
        digest, band = waiting.pop(0)
        if digest in bands or digest not in steps:
            continue
        step = steps[digest]
        while (step.stage, band) in taken:
            band += 1
        bands[digest] = band
        taken.add((step.stage, band))
        own = [(each, band) for each in step.upstream.values()]
        champion = [(each, band + 1) for each in step.champion.values()]
        waiting = [*own, *champion, *waiting]
    return bands


def _corner(stage: str, band: int) -> tuple[int, int]:
    column, level = COLUMNS[stage]
    top = MARGIN + LANE + band * (LANE + LEVELS * LEVEL_HEIGHT)
    return MARGIN + column * COLUMN_WIDTH, top + level * LEVEL_HEIGHT


def _worst(report: AuditReport) -> dict[str, str]:
    """Return the gravest grade about each receipt and about what it read."""
    worst: dict[str, str] = {}
    for grade in GRADES:
        for finding in report.of(grade):
            for digest in finding.concerns:
                worst.setdefault(digest, grade.value)
    return worst


def _box(step: Step, x: int, y: int, worst: Mapping[str, str]) -> Box:
    return Box(
        x=x,
        y=y,
        title=step.stage,
        lines=(
            step.digest[:SHORT],
            f"@ {step.commit[:SHORT]}{'+' if step.is_dirty else ''}",
            *([step.verdict] if step.verdict else []),
        ),
        grade=worst.get(step.digest, SOUND),
    )


def _scenes(step: Step, x: int, y: int, worst: Mapping[str, str]) -> Box:
    return Box(
        x=x,
        y=y,
        title="scenes",
        lines=(f"{step.num_sources:,} files", "named by sha256"),
        grade=worst.get(sources_of(step.digest), SOUND),
    )


def _lines(steps: Mapping[str, Step], places: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    for digest, place in places.items():
        step = steps[digest]
        for earlier in dict.fromkeys((*step.upstream.values(), *step.champion.values())):
            if earlier in places:
                yield _path(places[earlier], place)


def _path(source: tuple[int, int], target: tuple[int, int]) -> str:
    """Return a curve from the right of one box to the left of another, past all between.

    Down: at once, then level. Up: level, then at the end. Far and level, as from ingest to
    export: above the band.
    """
    half = BOX_HEIGHT // 2
    x, y = source[0] + BOX_WIDTH, source[1] + half
    end_x, end_y = target[0], target[1] + half
    columns = round((target[0] - source[0]) / COLUMN_WIDTH)
    if y == end_y and columns > LEVELS:
        lane = source[1] - LEVEL_HEIGHT - LANE // 2
        return (
            f"M{x} {y} C{x + GAP} {y} {x} {lane} {x + 2 * GAP} {lane} "
            f"L{end_x - 2 * GAP} {lane} C{end_x} {lane} {end_x - GAP} {end_y} {end_x} {end_y}"
        )
    turn = GAP // 2
    if end_y > y:
        level = x + GAP
        return f"M{x} {y} C{x + turn} {y} {x + turn} {end_y} {level} {end_y} L{end_x} {end_y}"
    level = end_x - GAP
    return f"M{x} {y} L{level} {y} C{end_x - turn} {y} {end_x - turn} {end_y} {end_x} {end_y}"
