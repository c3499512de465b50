"""The certificate of an audit: for the terminal, for machines, and as one page without scripts."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tessera_core.lineage.audit.condition import ON_BROKEN, WORDS, conditions
from tessera_core.lineage.audit.graph import BOX_HEIGHT, draw
from tessera_core.lineage.audit.report import AuditReport, Finding, Grade, Step, counted
from tessera_core.pages.render import render_page
from tessera_core.records.files import write_atomically, write_json

TEXT_NAME: Final = "certificate.txt"
JSON_NAME: Final = "certificate.json"
HTML_NAME: Final = "certificate.html"
TEMPLATE_NAME: Final = "certificate.html.j2"
SHORT: Final = 12
"""Hex digits of a digest that are shown; the JSON has all."""

TEXT_WIDTH: Final = 86
"""Characters of a detail line, beside the drawn chain."""

MAX_SHOWN: Final = 50
"""Findings of one grade that text and page show; the JSON has all."""

LOUD: Final = (WORDS["BLOCK"], ON_BROKEN)
"""What the drawn chain says in capitals."""

Shown = tuple[Grade, list[Finding], int]
"""A grade, its findings to show, and the number of those left out."""


def write_certificate(report: AuditReport, folder: Path) -> None:
    """Write ``certificate.txt``, ``.json`` and ``.html`` into a folder."""
    write_atomically(folder / TEXT_NAME, render_text(report).encode())
    write_json(folder / JSON_NAME, report.to_dict())
    write_atomically(folder / HTML_NAME, render_html(report).encode())


def render_text(report: AuditReport) -> str:
    """Return the certificate for a terminal: verdict, what blocks, chain, what else was found."""
    lines = ["TESSERA AUDIT CERTIFICATE", ""]
    lines += [f"  {name:<10}{value}" for name, value in headline(report).items()]
    blocking, others = split_findings(report)
    lines += _told(blocking)
    words = {digest: one.word for digest, one in conditions(report).items()}
    lines += ["", "The chain, from the scenes to what was published:", ""]
    for step in report.steps:
        lines += _drawn(step, words[step.digest], is_last=step is report.steps[-1])
    lines += _told(others)
    return "\n".join([*lines, "", verdict_sentence(report), ""])


def render_html(
    report: AuditReport,
    *,
    lines: Mapping[str, str] | None = None,
    sentence: str = "",
    pixel: object = None,
) -> str:
    """Return the certificate as one page that needs nothing from anywhere else.

    Args:
        report: What was found.
        lines: What stands first, by label; ``headline`` when None.
        sentence: What the verdict means; ``verdict_sentence`` when empty.
        pixel: A ``PixelReport`` whose observations the page is to show.
    """
    blocking, others = split_findings(report)
    content: dict[str, Any] = {
        "verdict": verdict(report),
        "sentence": sentence or verdict_sentence(report),
        "headline": headline(report) if lines is None else lines,
        "pixel": pixel,
        "steps": report.steps,
        "words": {digest: (one.word, one.grade) for digest, one in conditions(report).items()},
        "graph": draw(report),
        "box_height": BOX_HEIGHT,
        "blocking": blocking,
        "others": others,
        "start": report.start,
        "counted": counted,
    }
    filters: dict[str, Callable[..., object]] = {
        "short": short,
        "size": format_size,
        "run": run_word,
    }
    return render_page(TEMPLATE_NAME, filters, content)


def verdict(report: AuditReport) -> str:
    """Return ``PASSED`` or ``FAILED``."""
    return "PASSED" if report.passed else "FAILED"


def verdict_sentence(report: AuditReport) -> str:
    """Return what the verdict means and what to do."""
    if not report.passed:
        return (
            "FAILED: the chain of evidence is broken. Do not rely on what it leads to until every "
            "BLOCK is resolved as its next step says; then audit again."
        )
    if report.of(Grade.WARN):
        return (
            "PASSED: every byte is what its receipt says. The evidence holds, but see "
            "what the warnings say and their next steps."
        )
    return "PASSED: every byte is what its receipt says. Nothing to do."


def headline(report: AuditReport) -> dict[str, str]:
    """Return what stands above the chain, by label."""
    subject, counts = report.subject, report.count_by_grade()
    lines = {
        "verdict": f"{verdict(report)} ("
        + ", ".join(f"{number} {grade}" for grade, number in counts.items())
        + ")",
    }
    if "export" in subject:
        lines["export"] = str(subject["export"])
    candidate = subject.get("candidate") or {}
    if candidate:
        name = f"{subject.get('model_name', '')} version {candidate.get('version', '?')}".strip()
        lines["version"] = f"{name}, digest {short(str(candidate.get('model_digest')))}"
        decision = subject.get("decision") or {}
        lines["decision"] = f"{decision.get('alias')}: {'; '.join(decision.get('reasons', ()))}"
    if "model_digest" in subject:
        name = f"{subject.get('model_name', '')} version {subject.get('version', '?')}".strip()
        lines["model"] = f"{name}, digest {short(subject['model_digest'])}"
    if "num_pixels" in subject:
        tiles = subject.get("num_tiles")
        where = f" in {counted(tiles, 'tile')}" if isinstance(tiles, int) else ""
        lines["pixels"] = f"{subject['num_pixels']:,}{where}"
    lines["receipt"] = short(report.start)
    lines["verified"] = (
        f"{counted(len(report.steps), 'receipt')}, {counted(report.num_files, 'file')}, "
        f"{format_size(report.num_bytes)}, each byte once"
    )
    return lines


def split_findings(report: AuditReport) -> tuple[list[Shown], list[Shown]]:
    """Return what blocks and what does not, each as ``shown_findings`` gives it."""
    shown = shown_findings(report)
    return (
        [each for each in shown if each[0] is Grade.BLOCK],
        [each for each in shown if each[0] is not Grade.BLOCK],
    )


def shown_findings(report: AuditReport) -> list[Shown]:
    """Return the findings to show of each grade that has any, and how many are left out."""
    shown = []
    for grade in Grade:
        findings = report.of(grade)
        if findings:
            shown.append((grade, findings[:MAX_SHOWN], max(0, len(findings) - MAX_SHOWN)))
    return shown


def format_size(num_bytes: int) -> str:
    """Return bytes in the unit that suits them.

    >>> format_size(999), format_size(1_500), format_size(2_340_000_000)
    ('999 B', '1.5 kB', '2.3 GB')
    """
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def short(digest: str) -> str:
    """Return the first digits of a digest."""
    return str(digest)[:SHORT]


def run_word(step: Step) -> str:
    """Return whether a step is of the current or of an earlier run."""
    return "current" if step.is_current else "earlier"


def _told(shown: list[Shown]) -> list[str]:
    """Return the lines of findings, each with its next step."""
    lines: list[str] = []
    for grade, findings, num_hidden in shown:
        lines += ["", f"{grade.value} ({len(findings) + num_hidden})"]
        for finding in findings:
            lines += ["", f"  {finding.artefact}", f"    {finding.problem}"]
            lines.append(f"    next: {finding.next_step}")
        if num_hidden:
            lines += ["", f"  and {num_hidden} more in {JSON_NAME}"]
    return lines


def _drawn(step: Step, word: str, *, is_last: bool) -> list[str]:
    """Return the lines of one step and the arrow to the next."""
    dirty = " + changes" if step.is_dirty else ""
    first = (
        f"  {step.stage:<9} {short(step.digest)}  {run_word(step)}  "
        f"{step.num_files:>6,} files {format_size(step.num_bytes):>9}  "
        f"commit {short(step.commit)}{dirty}"
    )
    rail = " " if is_last else "|"
    parts = [word.upper(), *_details(step)] if word in LOUD else _details(step)
    details = [
        f"     {rail}      {line}" for part in parts for line in textwrap.wrap(part, TEXT_WIDTH)
    ]
    return [first, *details] if is_last else [first, *details, "     v"]


def _details(step: Step) -> list[str]:
    """Return what else is said of a step: where it stands, whom it serves, what it counted."""
    stands_on = _references(step.upstream)
    if step.num_sources:
        stands_on.insert(0, counted(step.num_sources, "source"))
    details = [f"stands on {', '.join(stands_on) or 'nothing'}"]
    if step.champion:
        details.append(f"champion is {', '.join(_references(step.champion))}")
    counts = [f"{name[4:].replace('_', ' ')} {value:,}" for name, value in step.counts.items()]
    verdict_of_gate = [f"verdict {step.verdict}"] if step.verdict else []
    details.append(", ".join([f"settings {short(step.config_digest)}", *verdict_of_gate, *counts]))
    return details


def _references(receipts: Mapping[str, str]) -> list[str]:
    return [f"{stage} {short(digest)}" for stage, digest in sorted(receipts.items())]
