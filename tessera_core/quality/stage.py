"""Stage ``quality``: measure every tile, judge it by the rules, write the report, or stop."""

from functools import partial
from typing import TYPE_CHECKING, Final

from tessera_core.errors import GateError, RecordError
from tessera_core.quality.expectations import rules
from tessera_core.quality.report import REPORT_HTML, QualityReport, build_report, write_report
from tessera_core.quality.statistics import measure_tile
from tessera_core.quality.tables import tables_of
from tessera_core.records.files import FileDigest, atomic_folder
from tessera_core.records.manifest import MANIFEST_NAME, write_manifest
from tessera_core.records.outcome import Outcome
from tessera_core.records.paths import Paths
from tessera_core.records.samples import list_tiles

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.ports import Ports

MAX_FAILURES_NAMED: Final = 5
"""Failures that the error message lists; the report has all."""


def sources(config: "PlatformConfig", paths: Paths) -> tuple[FileDigest, ...]:
    """Return nothing: the stage reads samples only."""
    return ()


def run(config: "PlatformConfig", paths: Paths, ports: "Ports") -> Outcome:
    """Judge all samples of the workspace and write the report, also when they fail.

    Raises:
        RecordError: There are no samples, or they cannot be read.
        GateError: A tile breaks a rule; the text lists the first failures.
    """
    settings = config.quality
    folders = list_tiles(paths.samples)
    if not folders:
        raise RecordError(
            f"{paths.samples} holds no tile, expected at least one tile=*/window=*/ folder with "
            "samples; run `tessera ingest` first"
        )
    measure = partial(measure_tile, num_sample_rows=settings.num_sample_rows, seed=settings.seed)
    measures = ports.mapper("quality_statistics", measure, folders)
    tables = tables_of(measures)
    # Great Expectations takes seconds to import; no other command shall wait for it.
    from tessera_core.quality.gx import validate

    report = build_report(settings, measures, validate(rules(settings), tables), tables)
    with atomic_folder(paths.quality) as folder:
        write_report(report, folder)
        write_manifest(folder, "quality", report.facts)
    if report.failures:
        raise GateError(_refusal(report, paths))
    return Outcome(outputs=(paths.quality / MANIFEST_NAME,), facts=report.facts)


def _refusal(report: QualityReport, paths: Paths) -> str:
    """Return the text of the gate: what failed, where, and what to do."""
    facts, failures = report.facts, report.failures
    lines = [
        f"quality refuses {facts['num_tiles_failed']} of {facts['num_tiles']} tiles; "
        f"rules broken: {len(failures)}"
    ]
    lines += [f"- {failure}" for failure in failures[:MAX_FAILURES_NAMED]]
    if len(failures) > MAX_FAILURES_NAMED:
        lines.append(f"- and {len(failures) - MAX_FAILURES_NAMED} more")
    lines.append(f"All numbers: {paths.quality / REPORT_HTML}")
    return "\n".join(lines)
