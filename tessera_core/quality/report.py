"""The quality report: one JSON file for programs, one HTML page for people, both offline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tessera_core.pages.quality import render_quality
from tessera_core.quality.config import QualityConfig
from tessera_core.quality.rule import Failure, RuleResult, Table, failures
from tessera_core.quality.statistics import TileMeasures
from tessera_core.quality.tables import statistics_table
from tessera_core.records.files import write_atomically, write_json
from tessera_core.records.samples import write_table
from tessera_core.records.words import MONTHS

REPORT_JSON: Final = "report.json"
REPORT_HTML: Final = "report.html"
STATISTICS_NAME: Final = "statistics.parquet"

PASSED: Final = "passed"
FAILED: Final = "failed"

TileKey = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """Everything that the stage found out."""

    config: QualityConfig
    """The limits that were applied."""

    measures: tuple[TileMeasures, ...]
    """One entry per tile and year, in name order; at least one."""

    results: tuple[RuleResult, ...]
    """One entry per rule."""

    failures: tuple[Failure, ...]
    """One entry per tile and rule that it breaks."""

    failed_cells: Mapping[TileKey, frozenset[str]]
    """Tile and year to the numbers that break a rule, as ``median_clear`` or ``s2/B04/median``."""

    @property
    def verdict(self) -> str:
        """``passed`` or ``failed``."""
        return FAILED if self.failures else PASSED

    @property
    def facts(self) -> dict[str, Any]:
        """Verdict and counts, for manifest and receipt."""
        tiles = [each.tile for each in self.measures]
        return {
            "verdict": self.verdict,
            "num_rules": len(self.results),
            "num_failures": len(self.failures),
            "num_tiles": len(tiles),
            "num_tiles_failed": len({(failure.tile, failure.year) for failure in self.failures}),
            "num_pixels": sum(tile.num_pixels for tile in tiles),
            "num_tiles_without_ascending": sum(not tile.num_ascending_dates for tile in tiles),
            "num_tiles_without_descending": sum(not tile.num_descending_dates for tile in tiles),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what a tile cannot have is null."""
        return {
            **self.facts,
            "settings": asdict(self.config),
            "failures": [asdict(failure) for failure in self.failures],
            "rules": [_rule_entry(result) for result in self.results],
            "tiles": [self._tile_entry(each) for each in self.measures],
        }

    def _tile_entry(self, measures: TileMeasures) -> dict[str, Any]:
        key = (measures.tile.tile, measures.tile.year)
        failed = [failure for failure in self.failures if (failure.tile, failure.year) == key]
        return {
            **asdict(measures.tile),
            "verdict": FAILED if failed else PASSED,
            "failed_rules": [failure.rule for failure in failed],
            "failed_cells": sorted(self.failed_cells.get(key, ())),
            "notes": tile_notes(measures),
            "clear_by_month": list(measures.clear_by_month),
            "bands": [
                {"sensor": sensor, "band": band, **asdict(values)}
                for (sensor, band), values in measures.bands.items()
            ],
            "sample": {
                "num_pixels": len(measures.sample.row),
                "median_ndvi_max": _finite_median(measures.sample.ndvi_max),
                "median_brightness": _finite_median(measures.sample.brightness),
            },
        }


def build_report(
    config: QualityConfig,
    measures: Sequence[TileMeasures],
    results: Sequence[RuleResult],
    tables: Mapping[str, Table],
) -> QualityReport:
    """Put statistics and results together; ``tables`` are those that were judged."""
    return QualityReport(
        config=config,
        measures=tuple(measures),
        results=tuple(results),
        failures=failures(results, tables),
        failed_cells=_failed_cells(results, tables),
    )


def write_report(report: QualityReport, folder: Path) -> None:
    """Write ``report.json``, ``report.html`` and ``statistics.parquet`` into a folder."""
    content = report.to_dict()
    write_json(folder / REPORT_JSON, content)
    write_atomically(folder / REPORT_HTML, render_quality(content).encode())
    write_table(statistics_table(report.measures), folder / STATISTICS_NAME)


def tile_notes(measures: TileMeasures) -> list[str]:
    """Return what is unusual about a tile but no fault."""
    tile = measures.tile
    notes = [
        f"No Sentinel-1 {orbit} acquisitions."
        for orbit, num_dates in (
            ("ascending", tile.num_ascending_dates),
            ("descending", tile.num_descending_dates),
        )
        if num_dates == 0
    ]
    months = zip(MONTHS, measures.clear_by_month, strict=True)
    empty = [month for month, count in months if count == 0]
    if empty:
        notes.append(f"No clear observation in {', '.join(empty)}.")
    return notes


def _rule_entry(result: RuleResult) -> dict[str, Any]:
    return {
        "name": result.rule.name,
        "table": result.rule.table,
        "column": result.rule.column,
        "meaning": result.rule.meaning,
        "expected": result.rule.expected,
        "next_step": result.rule.next_step,
        "num_checked": result.num_checked,
        "num_failed": len(result.failed_rows),
    }


def _failed_cells(
    results: Sequence[RuleResult], tables: Mapping[str, Table]
) -> dict[TileKey, frozenset[str]]:
    cells: dict[TileKey, set[str]] = {}
    for result in results:
        table, column = tables[result.rule.table], result.rule.column
        for row in result.failed_rows:
            name = column
            if result.rule.table == "band":
                name = f"{table['sensor'][row]}/{table['band'][row]}/{column}"
            cells.setdefault((table["tile"][row], table["year"][row]), set()).add(name)
    return {key: frozenset(names) for key, names in cells.items()}


def _finite_median(values: Any) -> float | None:
    """Return the median of the values that are not NaN, rounded; None of nothing."""
    finite = values[~np.isnan(values)]
    median = float(np.median(finite)) if len(finite) else math.nan
    return None if math.isnan(median) else round(median, 3)
