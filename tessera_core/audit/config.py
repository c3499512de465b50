"""Settings of the audit stage."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What the audit insists on."""

    require_sources: bool
    """Treat source scenes that are gone or changed as a failure, not a note."""
