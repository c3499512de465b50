"""In what condition an audit finds each receipt: broken, gone, warned of, or on broken ground."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tessera_core.lineage.audit.report import GRADES, AuditReport, Finding, Grade, Step, sources_of

SOUND: Final = "sound"
SCENES_STAGE: Final = "ingest"
"""Its sources are drawn apart; those of other stages count with their receipt."""

WORDS: Final[Mapping[str, str]] = {"BLOCK": "broken", "WARN": "warning", "NOTE": "note"}
GONE: Final = "gone or changed"
ON_BROKEN: Final = "stands on broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One receipt of the chain, there or not."""

    stage: str
    """Stage name; of a receipt that is not there, the one that it is named as."""

    step: Step | None
    """What was verified; None where the receipt is missing or unreadable."""

    grade: str
    """Worst finding about it, ``sound`` where there is none."""

    on_broken: bool
    """True where something that it stands on, however far behind, is broken or missing."""

    @property
    def word(self) -> str:
        """What people read beside the colour; empty where nothing is to be said."""
        if self.step is None:
            return GONE
        if self.on_broken and self.grade != Grade.BLOCK:
            return ON_BROKEN
        return WORDS.get(self.grade, "")


def conditions(report: AuditReport) -> dict[str, Condition]:
    """Return digest -> condition of every receipt of the chain, missing ones included."""
    steps = {step.digest: step for step in report.steps}
    missing = _missing(report, steps)
    worst = worst_grades(report)
    grades = {digest: _grade(step, worst) for digest, step in steps.items()}
    grades |= dict.fromkeys(missing, Grade.BLOCK.value)
    shaken = _shaken(steps, grades, worst)
    stages = {digest: step.stage for digest, step in steps.items()} | missing
    return {
        digest: Condition(
            stage=stage, step=steps.get(digest), grade=grades[digest], on_broken=digest in shaken
        )
        for digest, stage in stages.items()
    }


def worst_grades(report: AuditReport) -> dict[str, str]:
    """Return the gravest grade about each receipt and about what it read."""
    worst: dict[str, str] = {}
    for grade in GRADES:
        for finding in report.of(grade):
            for digest in finding.concerns:
                worst.setdefault(digest, grade.value)
    return worst


def beside(report: AuditReport, drawn: Iterable[str]) -> list[Finding]:
    """Return what blocks and concerns no receipt that is drawn: registry, lock file, decisions."""
    known = set(drawn)
    return [each for each in report.of(Grade.BLOCK) if not known & set(each.concerns)]


def behind(step: Step) -> tuple[str, ...]:
    """Return the digests of all receipts that one names."""
    return tuple(dict.fromkeys((*step.upstream.values(), *step.champion.values())))


def _missing(report: AuditReport, steps: Mapping[str, Step]) -> dict[str, str]:
    """Return digest -> stage of every receipt that is named and not there."""
    named = {
        digest: stage
        for step in report.steps
        for stage, digest in (*step.upstream.items(), *step.champion.items())
        if digest not in steps
    }
    if report.start not in steps:
        named.setdefault(report.start, "export")  # only the workspace's may be unreadable
    return named


def _grade(step: Step, worst: Mapping[str, str]) -> str:
    about = [step.digest]
    if step.stage != SCENES_STAGE:
        about.append(sources_of(step.digest))
    found = {worst[each] for each in about if each in worst}
    return next((grade.value for grade in GRADES if grade.value in found), SOUND)


def _shaken(
    steps: Mapping[str, Step], grades: Mapping[str, str], worst: Mapping[str, str]
) -> set[str]:
    """Return the receipts that stand, however far, on something that is broken."""
    broken = {digest for digest, grade in grades.items() if grade == Grade.BLOCK}
    shaken = {digest for digest in steps if worst.get(sources_of(digest)) == Grade.BLOCK}
    grown = True
    while grown:
        found = {digest for digest, step in steps.items() if set(behind(step)) & (broken | shaken)}
        grown = not found <= shaken
        shaken |= found
    return shaken
