"""What an audit says: findings by grade, and one step per receipt."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final


class Grade(StrEnum):
    """How much a finding weighs."""

    BLOCK = "BLOCK"
    """The evidence is broken: the export must not be relied on."""

    WARN = "WARN"
    """The evidence holds, but something would make a replay harder."""

    NOTE = "NOTE"
    """Worth knowing."""


GRADES: Final = tuple(Grade)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that an auditor should know."""

    grade: Grade
    """How much it weighs."""

    artefact: str
    """File or receipt, relative to the root."""

    problem: str
    """What is wrong with it."""

    next_step: str
    """What to do about it."""

    concerns: tuple[str, ...] = ()
    """Digests of the receipts whose evidence it is about; ``sources_of`` for what they read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One receipt of the chain and what was verified for it."""

    stage: str
    """Stage name."""

    digest: str
    """Digest of the receipt."""

    is_current: bool
    """True when it is the workspace's current receipt of that stage, False for an earlier run."""

    config_digest: str
    """sha256 over the settings that the stage read."""

    commit: str
    """Git commit, or ``unknown``."""

    is_dirty: bool
    """True when the code differed from that commit."""

    environment: str
    """Digest over the versions of Python and the dependencies."""

    upstream: Mapping[str, str]
    """Earlier stage -> digest of its receipt."""

    champion: Mapping[str, str]
    """For register: stage -> digest of the receipts behind the champion; empty elsewhere."""

    num_sources: int
    """Files from outside the chain that the receipt names."""

    num_files: int
    """Output files verified, manifests included."""

    num_bytes: int
    """Their bytes."""

    counts: Mapping[str, int]
    """Counts among the receipt's facts."""

    verdict: str
    """What the gate said: quality's verdict, register's alias; empty elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The result of one audit."""

    start: str
    """Digest of the receipt that the audit started from."""

    subject: Mapping[str, Any]
    """Facts of that receipt: the export's name, model, version, pixels."""

    findings: tuple[Finding, ...]
    """Gravest first, then by artefact."""

    steps: tuple[Step, ...]
    """Receipts in the order of the stages."""

    num_files: int
    """Files that were read."""

    num_bytes: int
    """Their bytes."""

    @property
    def passed(self) -> bool:
        """True when nothing blocks."""
        return not self.of(Grade.BLOCK)

    def of(self, grade: Grade) -> list[Finding]:
        """Return the findings of one grade."""
        return [finding for finding in self.findings if finding.grade is grade]

    def count_by_grade(self) -> dict[str, int]:
        """Return the number of findings of each grade."""
        return {grade.value: len(self.of(grade)) for grade in GRADES}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "passed": self.passed,
            "start": self.start,
            "subject": dict(self.subject),
            "num_findings": self.count_by_grade(),
            "findings": [asdict(finding) for finding in self.findings],
            "steps": [asdict(step) for step in self.steps],
            "num_files": self.num_files,
            "num_bytes": self.num_bytes,
        }


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return the findings gravest first, each once, with all that it concerns."""
    unique: dict[Finding, set[str]] = {}
    for finding in findings:
        unique.setdefault(replace(finding, concerns=()), set()).update(finding.concerns)
    merged = (replace(each, concerns=tuple(sorted(about))) for each, about in unique.items())
    return tuple(sorted(merged, key=lambda each: (GRADES.index(each.grade), each.artefact)))


def concerning(digest: str, findings: list[Finding]) -> list[Finding]:
    """Return findings as ones about the evidence of a receipt."""
    return [replace(each, concerns=(*each.concerns, digest)) for each in findings]


def sources_of(digest: str) -> str:
    """Return how ``concerns`` names what a receipt read from outside the chain."""
    return f"sources/{digest}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "tile"), counted(2_000, "tile")
    ('1 tile', '2,000 tiles')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
