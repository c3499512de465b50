"""What a replay says, for the terminal and for machines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tessera_core.records.files import digest_json, write_atomically, write_json
from tessera_core.replay.compare import StageReplay

JSON_NAME: Final = "replay.json"
TEXT_NAME: Final = "replay.txt"
SHORT: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One replay of one version."""

    subject: str
    """The version."""

    model_digest: str
    """Identity of its model."""

    code: str
    """Which code ran."""

    findings: tuple[str, ...]
    """What differed before anything ran: code, environment."""

    stages: tuple[StageReplay, ...]
    """In the order in which they ran."""

    first_divergence: str | None
    """The first stage that does not hold, or None."""

    @property
    def holds(self) -> bool:
        """Whether every stage that was asked for came out as it was."""
        return self.first_divergence is None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "subject": self.subject,
            "model_digest": self.model_digest,
            "code": self.code,
            "findings": list(self.findings),
            "stages": [stage.to_dict() for stage in self.stages],
            "first_divergence": self.first_divergence,
        }


def render(replay: Replay) -> str:
    """Return a replay for a terminal."""
    lines = [
        f"REPLAY OF {replay.subject}, model {replay.model_digest[:SHORT]}, with {replay.code}",
        "",
    ]
    lines += [f"  finding      {finding}" for finding in replay.findings]
    for stage in replay.stages:
        lines.append(f"  {stage.stage:<12} {stage.outcome.value:<11} {stage.receipt[:SHORT]}")
        lines += [f"                 {detail}" for detail in stage.details]
    verdict = (
        "Every stage came out as its receipt says."
        if replay.holds
        else f"The first stage that diverges is {replay.first_divergence}."
    )
    return "\n".join([*lines, "", verdict, ""])


def write_replay(replay: Replay, parent: Path) -> Path:
    """Write a replay into a folder named by its content and return it."""
    content = replay.to_dict()
    folder = parent / f"{replay.subject}-{digest_json(content)[:SHORT]}"
    write_json(folder / JSON_NAME, content)
    write_atomically(folder / TEXT_NAME, render(replay).encode())
    return folder
