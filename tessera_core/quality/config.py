"""Settings of the quality stage."""

from dataclasses import dataclass

from tessera_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityConfig:
    """Limits that a tile must keep to be trained on."""

    min_clear_median: int
    """Least median number of clear S2 observations per d-pixel."""

    max_share_without_clear: float
    """Largest share of d-pixels without any clear observation, 0..1."""

    max_date_gap_days: int
    """Longest stretch of days without a clear observation of the tile, 1..366."""

    max_duplicate_share: float
    """Largest share of d-pixels whose whole S2 series equals another's, 0..1."""

    num_sample_rows: int
    """D-pixels per tile that the row-level rules look at."""

    seed: int
    """Chooses those d-pixels."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("max_share_without_clear", "max_duplicate_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"quality.{name} is {value}, expected a share of 0..1")
        for name, low in (("min_clear_median", 0), ("max_date_gap_days", 1)):
            value = getattr(self, name)
            if not low <= value <= 366:
                raise ConfigError(f"quality.{name} is {value}, expected {low}..366")
        if self.num_sample_rows < 1:
            raise ConfigError(
                f"quality.num_sample_rows is {self.num_sample_rows}, expected 1 or more"
            )
