"""What a replay says: one verdict per stage, and findings about code, environment and data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from tessera_core.lineage.audit.report import Finding

MAX_NAMED: Final = 6


class Verdict(StrEnum):
    """How what came out compares with what was recorded."""

    IDENTICAL = "identical"
    """The same bytes."""

    EQUIVALENT = "equivalent"
    """Other bytes, within the tolerances for what they hold."""

    DIFFERS = "differs"
    """Something else."""

    FAILED = "failed"
    """The stage could not run again, so nothing is proven."""


PROVEN: Final = frozenset({Verdict.IDENTICAL, Verdict.EQUIVALENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReplay:
    """One stage run again."""

    stage: str
    """Stage name."""

    receipt: str
    """Digest of the recorded receipt."""

    verdict: Verdict
    """The comparison in one word."""

    code: str
    """Commit that ran, or ``present``; empty where none ran."""

    num_files: int
    """Files compared."""

    different: tuple[str, ...]
    """Files whose content differs, is missing or is new, and facts that differ; sorted."""

    reason: str
    """What equivalence rests on, or why the stage failed; empty otherwise."""

    @property
    def line(self) -> str:
        """One line for a terminal."""
        words = [f"{self.stage:<9} {self.verdict:<10}"]
        if self.different:
            more = len(self.different) - MAX_NAMED
            words.append(", ".join(self.different[:MAX_NAMED]) + f" and {more} more" * (more > 0))
        elif self.verdict is Verdict.IDENTICAL:
            words.append(f"{self.num_files} file{'s' * (self.num_files != 1)}")
        if self.reason:
            words.append(f"({self.reason})")
        if self.code:
            words.append(f"code {self.code[:12]}")
        return f"{' '.join(words)}  [{self.receipt[:12]}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """The result of one replay."""

    name: str
    """The version, for people."""

    model_digest: str
    """Its artifact."""

    device: str
    """Kind of device that the replay ran on."""

    stages: tuple[StageReplay, ...]
    """In the order they ran."""

    findings: tuple[Finding, ...]
    """What differs around the stages, gravest first."""

    @property
    def is_proven(self) -> bool:
        """True when every stage gave what was recorded."""
        return bool(self.stages) and all(one.verdict in PROVEN for one in self.stages)

    @property
    def first_diverging(self) -> str | None:
        """The first stage that did not give what was recorded; None where all did."""
        return next((one.stage for one in self.stages if one.verdict not in PROVEN), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "model_digest": self.model_digest,
            "device": self.device,
            "proven": self.is_proven,
            "first_diverging": self.first_diverging,
            "stages": [asdict(one) for one in self.stages],
            "findings": [asdict(one) for one in self.findings],
        }


def conclusion(report: ReplayReport) -> str:
    """Return the outcome in one line."""
    if report.first_diverging is not None:
        return f"first diverging stage: {report.first_diverging}"
    words = sorted({str(one.verdict) for one in report.stages}, reverse=True)
    return f"every stage is {' or '.join(words)}"


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Return a line per finding."""
    return [f"{one.grade:<5} {one.artefact}: {one.problem}; {one.next_step}" for one in findings]


def render_replay(report: ReplayReport) -> str:
    """Return the whole report as text."""
    lines = [
        f"replay of {report.name} (model {report.model_digest[:12]}) on {report.device}",
        *(one.line for one in report.stages),
        *finding_lines(report.findings),
        conclusion(report),
    ]
    return "\n".join(lines) + "\n"
