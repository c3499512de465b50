"""The lineage as a drawing: where each receipt stands, and the lines between them.

Stages go from left to right; a run is a band, and runs that share receipts share boxes. Above a
band's middle stands quality, below it evaluate, so that no line crosses a box::

    scenes - ingest - quality - shuffle - pretrain - evaluate - register - export
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tessera_core.lineage.audit.condition import (
    SOUND,
    WORDS,
    Condition,
    behind,
    beside,
    conditions,
    worst_grades,
)
from tessera_core.lineage.audit.report import AuditReport, Finding, Grade, Step, sources_of

BOX_WIDTH, BOX_HEIGHT = 116, 86
COLUMN_WIDTH, LEVEL_HEIGHT, MARGIN = 150, 100, 8
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

SHORT: Final = 12
WIDE_BOX: Final = BOX_WIDTH + COLUMN_WIDTH
WIDE_LETTERS: Final = 34
MAX_BESIDE: Final = 4
"""Boxes of what is broken and belongs to no receipt; the last one counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One receipt, the scenes before it, or something broken beside the chain."""

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

    word: str
    """The same in a word, for who sees no colour; empty where there is none."""

    on_broken: bool = False
    """True where something that it stands on is broken or missing."""

    width: int = BOX_WIDTH
    """From left to right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """From what is stood on to what stands on it."""

    path: str
    """SVG path."""

    is_broken: bool
    """True where it comes from something broken, or from what stands on that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Boxes and lines, in units of the drawing."""

    width: int
    """Of the drawing."""

    height: int
    """Of the drawing."""

    boxes: tuple[Box, ...]
    """Drawn last, over the lines."""

    lines: tuple[Line, ...]
    """Drawn first."""


def draw(report: AuditReport) -> Graph:
    """Return the drawing of an audit's receipts; whatever blocks has a red box in it."""
    known = {digest: one for digest, one in conditions(report).items() if one.stage in COLUMNS}
    bands = _bands(report.start, known)
    places = {digest: _corner(known[digest].stage, band) for digest, band in bands.items()}
    worst = worst_grades(report)
    boxes = [_box(digest, known[digest], *place) for digest, place in places.items()]
    lines = list(_lines(known, places))
    drawn = set(places) | {sources_of(digest) for digest in places}
    for digest, (x, y) in places.items():
        step = known[digest].step
        if step and step.num_sources and step.stage == "ingest":
            scenes = _scenes(step, x - COLUMN_WIDTH, y, worst)
            boxes.append(scenes)
            path = _path((scenes.x, y), (x, y))
            lines.append(Line(path=path, is_broken=scenes.grade == Grade.BLOCK))
    height = MARGIN + (max(bands.values(), default=0) + 1) * (LANE + LEVELS * LEVEL_HEIGHT)
    width = 2 * MARGIN + max(column for column, _ in COLUMNS.values()) * COLUMN_WIDTH + BOX_WIDTH
    if apart := beside(report, drawn):
        boxes += _apart(apart, height + LANE)
        height += LANE + BOX_HEIGHT + MARGIN
    return Graph(width=width, height=height, boxes=tuple(boxes), lines=tuple(lines))


def _bands(start: str, known: Mapping[str, Condition]) -> dict[str, int]:
    """Return the band of each receipt: its run's, or the next that is free at its stage."""
    bands: dict[str, int] = {}
    taken: set[tuple[str, int]] = set()
    # Every receipt that is there is drawn, also one that a broken chain no longer leads to.
    waiting = [(digest, 0) for digest in sorted(known, key=lambda digest: digest != start)]
    while waiting:
        digest, band = waiting.pop(0)
        if digest in bands or digest not in known:
            continue
        stage, step = known[digest].stage, known[digest].step
        while (stage, band) in taken:
            band += 1
        bands[digest] = band
        taken.add((stage, band))
        if step is not None:
            own = [(each, band) for each in step.upstream.values()]
            champion = [(each, band + 1) for each in step.champion.values()]
            waiting = [*own, *champion, *waiting]
    return bands


def _corner(stage: str, band: int) -> tuple[int, int]:
    column, level = COLUMNS[stage]
    top = MARGIN + LANE + band * (LANE + LEVELS * LEVEL_HEIGHT)
    return MARGIN + column * COLUMN_WIDTH, top + level * LEVEL_HEIGHT


def _box(digest: str, one: Condition, x: int, y: int) -> Box:
    lines = [digest[:SHORT]]
    if one.step is not None:
        lines.append(f"@ {one.step.commit[:SHORT]}{'+' if one.step.is_dirty else ''}")
        lines += [one.step.verdict[:SHORT]] if one.step.verdict else []
    return Box(
        x=x, y=y, title=one.stage, lines=tuple(lines), grade=one.grade, word=one.word,
        on_broken=one.on_broken,
    )  # fmt: skip


def _scenes(step: Step, x: int, y: int, worst: Mapping[str, str]) -> Box:
    grade = worst.get(sources_of(step.digest), SOUND)
    return Box(
        x=x,
        y=y,
        title="scenes",
        lines=(f"{step.num_sources:,} files", "named by sha256"),
        grade=grade,
        word=WORDS.get(grade, ""),
    )


def _apart(findings: list[Finding], y: int) -> Iterator[Box]:
    """Yield a row of boxes for what is broken beside the chain."""
    shown = findings if len(findings) <= MAX_BESIDE else findings[: MAX_BESIDE - 1]
    lines = [(_cut(each.artefact), _cut(each.problem)) for each in shown]
    if rest := len(findings) - len(shown):
        lines.append((f"and {rest} more", "as listed above"))
    for number, each in enumerate(lines):
        yield Box(
            x=MARGIN + number * 2 * COLUMN_WIDTH, y=y, title="beside the chain", lines=each,
            grade=Grade.BLOCK.value, word=WORDS["BLOCK"], width=WIDE_BOX,
        )  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= WIDE_LETTERS else f"{text[: WIDE_LETTERS - 3]}..."


def _lines(known: Mapping[str, Condition], places: Mapping[str, tuple[int, int]]) -> Iterator[Line]:
    for digest, place in places.items():
        step = known[digest].step
        for earlier in () if step is None else behind(step):
            if earlier in places:
                is_broken = known[earlier].grade == Grade.BLOCK or known[earlier].on_broken
                yield Line(path=_path(places[earlier], place), is_broken=is_broken)


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
