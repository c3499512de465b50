"""Settings of the export stage."""

from dataclasses import dataclass

from tessera_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """How embeddings are written."""

    batch_size: int
    """D-pixels per forward pass."""

    bfloat16: bool
    """Multiply in bfloat16: faster where the device has it, off by about as much as int8 is."""

    chunk_size: int
    """Edge of an inner Zarr chunk in pixels."""

    shard_size: int
    """Edge of a Zarr shard in pixels; a multiple of ``chunk_size``."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.batch_size < 1:
            raise ConfigError(f"export.batch_size is {self.batch_size}, expected 1 or more")
        if self.chunk_size < 1 or self.shard_size < 1 or self.shard_size % self.chunk_size:
            raise ConfigError(
                f"export.shard_size {self.shard_size} must be a multiple of "
                f"chunk_size {self.chunk_size}"
            )
