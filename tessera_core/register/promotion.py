"""When a challenger becomes champion: a pure function of two sets of scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from tessera_core.register.config import RegisterConfig

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PROBE: Final = "encoder/linear"
HEIGHT_PROBE: Final = "encoder/ridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the promotion rule looks at, from an evaluate receipt."""

    labels_digest: str
    """Identity of the labels: only scores on the same labels compare."""

    accuracy: float | None
    """Field-disjoint crop accuracy of the linear probe, 0..1, or None when skipped."""

    height_r2: float | None
    """Canopy-height R2 of the ridge probe, or None when skipped."""

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Read the scores from the facts of an evaluate receipt."""
        headline = facts["headline"]
        return cls(
            labels_digest=str(facts["labels_digest"]),
            accuracy=_mean(headline, "crop_type", PROBE, "accuracy"),
            height_r2=_mean(headline, "canopy_height", HEIGHT_PROBE, "r2"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which alias a version gets, and why."""

    alias: str
    """``champion`` or ``challenger``."""

    reasons: tuple[str, ...]
    """Sentences with the numbers that decided."""


def decide(candidate: Scores, champion: Scores | None, config: RegisterConfig) -> Decision:
    """Return the alias of a new version.

    The first version serves, since nothing else can. After that a version must be scored on the
    champion's labels, gain at least ``min_gain`` in crop accuracy, and lose at most
    ``max_height_loss`` in canopy-height R2.
    """
    if champion is None:
        return Decision(alias=CHAMPION, reasons=("first version: there is no champion yet",))
    if candidate.accuracy is None or champion.accuracy is None:
        side = "this version" if candidate.accuracy is None else "the champion"
        return Decision(
            alias=CHALLENGER, reasons=(f"{side} has no crop score, so the two cannot be compared",)
        )
    if candidate.labels_digest != champion.labels_digest:
        return Decision(
            alias=CHALLENGER,
            reasons=("scored on other labels than the champion, so the two cannot be compared",),
        )
    gain = candidate.accuracy - champion.accuracy
    gained = gain >= config.min_gain
    reasons = [
        f"crop accuracy {candidate.accuracy:.3f} against the champion's {champion.accuracy:.3f}: "
        f"gain {gain:+.3f}, {'at least' if gained else 'below'} the {config.min_gain:.3f} asked"
    ]
    kept = True
    if candidate.height_r2 is not None and champion.height_r2 is not None:
        loss = champion.height_r2 - candidate.height_r2
        kept = loss <= config.max_height_loss
        reasons.append(
            f"canopy-height R2 {candidate.height_r2:.3f} against {champion.height_r2:.3f}: "
            f"loss {loss:+.3f}, {'within' if kept else 'beyond'} the "
            f"{config.max_height_loss:.3f} allowed"
        )
    return Decision(alias=CHAMPION if gained and kept else CHALLENGER, reasons=tuple(reasons))


def _mean(headline: Mapping[str, Any], task: str, model: str, metric: str) -> float | None:
    """Return one score, or None when the task was skipped."""
    scores = headline.get(task, {}).get(model)
    return None if scores is None else float(scores[metric]["mean"])
