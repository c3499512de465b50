"""What a rule is, what judging it gives, and what its failure says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tessera_core.errors import ConfigError

TABLES: Final = ("tile", "band", "row")

Table = Mapping[str, Sequence[Any]]
"""Columns of equal length: one of ``tables.tables_of``."""

MAX_BANDS_NAMED: Final = 3
"""Bands that one message lists before it counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One expectation: every value of a column lies in a range, or in a set; null passes."""

    name: str
    """Unique word for it, as it stands in messages and reports."""

    table: str
    """``tile``, ``band`` or ``row``."""

    column: str
    """Column of that table."""

    minimum: float | None = None
    """Least value that passes; None = no lower limit."""

    maximum: float | None = None
    """Greatest value that passes; None = no upper limit."""

    allowed: tuple[Any, ...] | None = None
    """Values that pass, instead of a range."""

    bands: tuple[str, ...] | None = None
    """For the ``band`` table, the bands it is about; None = all."""

    meaning: str
    """What the column says, as a noun phrase."""

    next_step: str
    """What to do when it fails, as an instruction."""

    def __post_init__(self) -> None:
        """Refuse a rule that cannot be judged or cannot fail."""
        if self.table not in TABLES:
            raise ConfigError(
                f"rule {self.name}: table is {self.table!r}, expected one of {TABLES}"
            )
        limits = (self.minimum, self.maximum)
        if (limits == (None, None)) == (self.allowed is None):
            raise ConfigError(f"rule {self.name}: expected either a range or a set of values")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ConfigError(
                f"rule {self.name}: minimum {self.minimum} is above maximum {self.maximum}"
            )
        if self.bands is not None and self.table != "band":
            raise ConfigError(f"rule {self.name}: only the band table has bands")

    @property
    def expected(self) -> str:
        """What passes, in words."""
        if self.allowed is not None:
            return " or ".join(_plain(value) for value in self.allowed)
        if self.minimum == self.maximum:
            return _plain(self.minimum)
        if self.maximum is None:
            return f"{_plain(self.minimum)} or more"
        if self.minimum is None:
            return f"{_plain(self.maximum)} or less"
        return f"{_plain(self.minimum)} to {_plain(self.maximum)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What the judge found for one rule."""

    rule: Rule
    """The rule."""

    num_checked: int
    """Rows of its table that it looked at."""

    failed_rows: tuple[int, ...]
    """Positions in its table of the rows that break it, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One rule broken by one tile."""

    tile: str
    """Tile name."""

    year: int
    """Calendar year."""

    rule: str
    """Rule name."""

    meaning: str
    """What was looked at."""

    expected: str
    """What passes."""

    seen: str
    """What was found, and where in the tile."""

    next_step: str
    """What to do."""

    def __str__(self) -> str:
        """Return the failure as one line of an error message."""
        return (
            f"tile {self.tile}, {self.year}: {self.rule} ({self.meaning}): "
            f"expected {self.expected}, seen {self.seen}; {self.next_step}"
        )


def failures(results: Iterable[RuleResult], tables: Mapping[str, Table]) -> tuple[Failure, ...]:
    """Return one failure for each tile and rule, in the order of the tiles."""
    found: dict[tuple[int, int], Failure] = {}
    tiles = zip(tables["tile"]["tile"], tables["tile"]["year"], strict=True)
    place = {key: number for number, key in enumerate(tiles)}
    for number, result in enumerate(results):
        table = tables[result.rule.table]
        rows_of: dict[tuple[str, int], list[int]] = {}
        for row in result.failed_rows:
            rows_of.setdefault((table["tile"][row], table["year"][row]), []).append(row)
        for (tile, year), rows in rows_of.items():
            found[place[tile, year], number] = Failure(
                tile=tile,
                year=year,
                rule=result.rule.name,
                meaning=result.rule.meaning,
                expected=result.rule.expected,
                seen=_seen(result.rule, table, rows),
                next_step=result.rule.next_step,
            )
    return tuple(found[key] for key in sorted(found))


def _seen(rule: Rule, table: Table, rows: list[int]) -> str:
    """Return the offending values of one tile in words, the first few with their place."""
    values = [_plain(table[rule.column][row]) for row in rows]
    if rule.table == "tile":
        return values[0] + _gap_place(rule, table, rows[0])
    if rule.table == "band":
        sensors = [table["sensor"][row].replace("_", " ").capitalize() for row in rows]
        places = [f"{name} {table['band'][row]}" for name, row in zip(sensors, rows, strict=True)]
        named = [f"{value} in {place}" for value, place in zip(values, places, strict=True)]
        more = len(named) - MAX_BANDS_NAMED
        return ", ".join(named[:MAX_BANDS_NAMED]) + (f" and {more} more" if more > 0 else "")
    key = (table["tile"][rows[0]], table["year"][rows[0]])
    num_sampled = sum(pair == key for pair in zip(table["tile"], table["year"], strict=True))
    place = f"row {table['row'][rows[0]]}, column {table['column'][rows[0]]}"
    return f"{values[0]} at {place} ({len(rows)} of {num_sampled} sampled d-pixels)"


def _gap_place(rule: Rule, table: Table, row: int) -> str:
    if rule.column != "longest_gap_days":
        return ""
    start = table["longest_gap_start"][row]
    return f" from day {start} to {start + table['longest_gap_days'][row] - 1}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
