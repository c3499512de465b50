"""A pixel's answer for the terminal and as a certificate; JSON has every digest in full."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tessera_core.lineage.audit.certificate import (
    HTML_NAME,
    JSON_NAME,
    TEXT_NAME,
    render_html,
    short,
    verdict,
)
from tessera_core.lineage.audit.observations import Observation
from tessera_core.lineage.audit.pixel import PixelReport, PixelYear
from tessera_core.lineage.audit.report import Finding, Grade, counted
from tessera_core.lineage.audit.stage import certificate_folder
from tessera_core.records.files import write_atomically, write_json

PLACES: Final = 6
"""Decimals of a degree: a tenth of a metre."""


def write_pixel(report: PixelReport, target: Path) -> None:
    """Write the certificate of a pixel, as any certificate: text, JSON, page and manifest."""
    with certificate_folder(report.audit, target) as folder:
        write_atomically(folder / TEXT_NAME, render_pixel(report).encode())
        write_json(folder / JSON_NAME, report.to_dict())
        page = render_html(
            report.audit, lines=_headline(report), sentence=_sentence(report), pixel=report
        )
        write_atomically(folder / HTML_NAME, page.encode())


def render_pixel(report: PixelReport) -> str:
    """Return the answer: what the pixel is, what entered, who made it, what let it through."""
    audit = report.audit
    lines = ["TESSERA PIXEL AUDIT", ""]
    lines += [f"  {name:<10}{value}" for name, value in _headline(report).items()]
    lines += [*_findings(audit.of(Grade.BLOCK))]
    for year in report.years:
        lines += ["", *_year(year)]
    lines += ["", "Made by:", ""]
    lines += [
        f"  {step.stage:<9} {short(step.digest)}  settings {short(step.config_digest)}  "
        f"commit {short(step.commit)}{' + changes' if step.is_dirty else ''}"
        for step in audit.steps
    ]
    lines += _findings([each for each in audit.findings if each.grade is not Grade.BLOCK])
    return "\n".join([*lines, "", _sentence(report), ""])


def _headline(report: PixelReport) -> dict[str, str]:
    """Return what stands first, by label; several gates of one sort are counted."""
    audit, subject = report.audit, report.audit.subject
    counts = ", ".join(f"{number} {grade}" for grade, number in audit.count_by_grade().items())
    model = f"{subject.get('model_name')} version {subject.get('version')}"
    lines = {
        "verdict": f"{verdict(audit)} ({counts})",
        "pixel": f"{report.longitude:.{PLACES}f} {report.latitude:.{PLACES}f}",
        "export": report.export,
        "model": f"{model}, digest {short(str(subject.get('model_digest')))}",
        "receipt": short(audit.start),
        "verified": f"{counted(len(audit.steps), 'receipt')}, "
        f"{counted(audit.num_files, 'file')} on this pixel's path",
    }
    said: dict[str, list[str]] = {}
    for name, text in _gates(report.gates):
        said.setdefault(name, []).append(text)
    lines |= {name: "; ".join(texts) for name, texts in said.items()}
    if report.sampling:
        lines["sampling"] = f"{report.sampling.get('rule')} of the usable observations"
    return lines


def _sentence(report: PixelReport) -> str:
    """Return what the verdict means and what to do."""
    if report.audit.passed:
        return "PASSED: every byte on this pixel's path is what its receipt says."
    return (
        "FAILED: nothing is claimed of this pixel until every BLOCK is resolved as its next step "
        "says; then ask again."
    )


def _gates(gates: Any) -> Iterator[tuple[str, str]]:
    for digest, said in sorted(gates.get("quality", {}).items()):
        yield "quality", f"{said} [{short(digest)}]"
    for one in gates.get("promotion", ()):
        text = f"{one['alias']}: {'; '.join(one['reasons'])} [{short(one['receipt'])}]"
        yield "decision", text
    for one in gates.get("overrides", ()):
        yield "override", f"{one['by']} decided: {one['reason']} [{short(one['record'])}]"


def _year(year: PixelYear) -> Iterator[str]:
    place = year.place
    yield f"{place.year}: row {place.row}, column {place.column} of tile {place.tile}"
    yield f"  EPSG:{place.epsg}, centre {place.x:.1f} {place.y:.1f} m"
    yield f"  codes sha256 {year.codes_digest}, scale {year.scale:.9g}"
    for path, sha256 in year.files.items():
        yield f"  {short(sha256)}  {path}"
    sensors = dict.fromkeys(each.sensor for each in year.observations)
    for sensor in sensors:
        own = [each for each in year.observations if each.sensor == sensor]
        yield f"  {sensor}: {sum(each.used for each in own)} of {len(own)} dates used"
        for each in own:
            yield _observation(each)


def _observation(each: Observation) -> str:
    word = "used" if each.used else "dropped"
    return f"    {each.acquired:<10}  {word:<7}  {each.state:<20}  {', '.join(each.scenes)}"


def _findings(findings: Iterable[Finding]) -> Iterator[str]:
    for each in findings:
        yield from ("", f"  {each.grade.value}  {each.artefact}", f"    {each.problem}")
        yield f"    next: {each.next_step}"
