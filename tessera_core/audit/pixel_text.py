"""A pixel's answer for the terminal; JSON has every digest in full."""

from collections.abc import Iterator
from typing import Any, Final

from tessera_core.audit.certificate import short, verdict
from tessera_core.audit.observations import Observation
from tessera_core.audit.pixel import PixelReport, PixelYear
from tessera_core.audit.report import Finding, Grade

SHOWN_GRADES: Final = (Grade.BLOCK, Grade.WARN, Grade.NOTE)
PLACES: Final = 6
"""Decimals of a degree: a tenth of a metre."""


def render_pixel(report: PixelReport) -> str:
    """Return the answer: what the pixel is, what entered, who made it, what let it through."""
    audit, subject = report.audit, report.audit.subject
    counts = ", ".join(f"{number} {grade}" for grade, number in audit.count_by_grade().items())
    model = f"{subject.get('model_name')} version {subject.get('version')}"
    lines = [
        "TESSERA PIXEL AUDIT",
        "",
        f"  verdict   {verdict(audit)} ({counts})",
        f"  pixel     {report.longitude:.{PLACES}f} {report.latitude:.{PLACES}f}",
        f"  export    {report.export}",
        f"  model     {model}, digest {short(str(subject.get('model_digest')))}",
        f"  receipt   {short(audit.start)}",
        f"  verified  {len(audit.steps)} receipts, {audit.num_files} files on this pixel's path",
        *_gates(report.gates),
    ]
    if report.sampling:
        lines.append(f"  sampling  {report.sampling.get('rule')} of the usable observations")
    for year in report.years:
        lines += ["", *_year(year)]
    lines += ["", "Made by:", ""]
    lines += [
        f"  {step.stage:<9} {short(step.digest)}  settings {short(step.config_digest)}  "
        f"commit {short(step.commit)}{' + changes' if step.is_dirty else ''}"
        for step in audit.steps
    ]
    for finding in audit.findings:
        lines += ["", *_finding(finding)]
    return "\n".join([*lines, ""])


def _gates(gates: Any) -> Iterator[str]:
    for digest, said in sorted(gates.get("quality", {}).items()):
        yield f"  quality   {said} [{short(digest)}]"
    for one in gates.get("promotion", ()):
        yield f"  decision  {one['alias']}: {'; '.join(one['reasons'])} [{short(one['receipt'])}]"
    for one in gates.get("overrides", ()):
        yield f"  override  {one['by']} decided: {one['reason']} [{short(one['record'])}]"


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


def _finding(finding: Finding) -> list[str]:
    return [
        f"  {finding.grade.value}  {finding.artefact}",
        f"    {finding.problem}",
        f"    next: {finding.next_step}",
    ]
