"""One diagnostic number, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from tessera_core.errors import RecordError

DIGITS: Final = 6
"""Decimals kept: samples of a few thousand d-pixels carry three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one diagnostic says."""

    value: float | None
    """The number; None where the data does not allow one."""

    reason: str = ""
    """Why there is no number; empty where there is one."""

    more: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers and lists by name; plain JSON values."""

    def __post_init__(self) -> None:
        """Refuse a missing number without a reason, and a reason beside a number."""
        if (self.value is None) != bool(self.reason):
            raise RecordError(
                f"a reading has value {self.value} and reason {self.reason!r}; expected a number "
                "or a reason"
            )

    @classmethod
    def missing(cls, reason: str) -> Self:
        """Return a reading without a number."""
        return cls(value=None, reason=reason)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, rounded."""
        value = None if self.value is None else round(self.value, DIGITS)
        return {"value": value, "reason": self.reason, **rounded(self.more)}


def rounded(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers and lists of numbers with ``DIGITS`` decimals; the rest as it is."""

    def short(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, DIGITS)
        if isinstance(value, list):
            return [short(part) for part in value]
        return rounded(value) if isinstance(value, Mapping) else value

    return {name: short(value) for name, value in stored.items()}
