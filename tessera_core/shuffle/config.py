"""Settings of the shuffle stage."""

from dataclasses import dataclass

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleConfig:
    """How samples become shards."""

    seed: int
    """Chooses the permutation and the split."""

    rows_per_shard: int
    """D-pixels in one shard file."""

    block_size_m: int
    """Edge of a spatial block in metres; a block goes whole to one split."""

    val_share: float
    """Share of blocks held out for validation."""

    test_share: float
    """Share of blocks held out for tests."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.rows_per_shard < 1:
            raise ConfigError(
                f"shuffle.rows_per_shard is {self.rows_per_shard}, expected 1 or more"
            )
        if self.block_size_m < TILE_RESOLUTION_M:
            raise ConfigError(
                f"shuffle.block_size_m is {self.block_size_m}, expected at least one pixel "
                f"of {TILE_RESOLUTION_M} m"
            )
        if min(self.val_share, self.test_share) < 0 or self.val_share + self.test_share >= 1:
            raise ConfigError(
                f"shuffle.val_share {self.val_share} and test_share {self.test_share} "
                "must be 0 or more and leave something to train on"
            )
