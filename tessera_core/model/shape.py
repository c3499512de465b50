"""The shape of an encoder: everything that decides its function but the weights.

The TESSERA releases differ in where they normalise, how they pool, fuse and reduce, and in size
(method.md 4.1 to 4.4). Each of those is one field here, so a release is a value, not a class.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from tessera_core.errors import ArtifactError, did_you_mean


class Pooling(StrEnum):
    """How the observations of one sensor become one vector."""

    ATTENTION = "attention"
    """Softmax over time of one linear score per observation (v2)."""

    TORCH_GRU = "torch-gru-attention"
    """Scores come from ``nn.GRU`` run over the observations (v1.0 early)."""

    GATED_GRU = "gated-gru-attention"
    """Scores come from a GRU with the reset gate before the recurrent product, one bias per gate
    and a LayerNorm behind it (v1.0 QAT, v1.1). Not ``nn.GRU``: a swap shows only in the maps."""


class Fusion(StrEnum):
    """How the vectors of the two sensors become one."""

    CONCATENATE = "concatenate"
    """Side by side, S2 first."""

    TRANSFORMER = "two-token-transformer"
    """Two tokens through two transformer layers, then side by side (v2 teacher)."""


class Reducer(StrEnum):
    """How the fused vector becomes the embedding."""

    LINEAR = "linear"
    """One linear layer (v1.0)."""

    MLP = "mlp"
    """Linear, LayerNorm, ReLU, dropout, linear (v1.1, v2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorShape:
    """Size of one sensor's transformer."""

    num_layers: int
    """Transformer layers."""

    num_heads: int
    """Attention heads per layer."""

    feedforward_dim: int
    """Width inside the feed-forward part."""

    def __post_init__(self) -> None:
        """Refuse sizes that no transformer has."""
        for part in fields(self):
            _require_count(part.name, getattr(self, part.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """One member of the encoder family."""

    model_dim: int
    """D, width of each sensor's transformer; four times the releases' ``latent_dim``."""

    s2: SensorShape
    """Sentinel-2."""

    s1: SensorShape
    """Sentinel-1, both orbits in one stream."""

    embedding_dim: int
    """E, values of one embedding as the network gives it."""

    norm_first: bool
    """LayerNorm before attention and feed-forward (v2 teacher), not after them."""

    qk_norm: bool
    """RMSNorm of queries and keys per head, in float32."""

    pooling: Pooling
    """Observations to one vector."""

    fusion: Fusion
    """Two sensors to one vector."""

    reducer: Reducer
    """Fused vector to embedding."""

    final_norm: bool
    """LayerNorm without weights behind the reducer: embeddings of mean 0 and deviation 1."""

    dropout: float
    """Dropout inside layers while training, 0..1."""

    def __post_init__(self) -> None:
        """Refuse shapes that no encoder has."""
        for name in ("model_dim", "embedding_dim"):
            _require_count(name, getattr(self, name))
        for sensor in (self.s2, self.s1):
            if self.model_dim % sensor.num_heads or self.model_dim % 2:
                raise ArtifactError(
                    f"encoder model_dim {self.model_dim} must be even and divisible by num_heads "
                    f"{sensor.num_heads}"
                )
        if not 0 <= self.dropout < 1:
            raise ArtifactError(f"encoder dropout is {self.dropout}, expected 0 up to below 1")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote; raises ArtifactError for a missing or unknown key."""
        known = {part.name for part in fields(cls)}
        if faults := [f"{name} is missing" for name in sorted(known - stored.keys())] + [
            f"{name} is unknown. {did_you_mean(name, known)}"
            for name in sorted(stored.keys() - known)
        ]:
            raise ArtifactError(f"encoder shape: {'; '.join(faults)}")
        try:
            return cls(
                **{
                    **stored,
                    "s2": SensorShape(**stored["s2"]),
                    "s1": SensorShape(**stored["s1"]),
                    "pooling": Pooling(stored["pooling"]),
                    "fusion": Fusion(stored["fusion"]),
                    "reducer": Reducer(stored["reducer"]),
                }
            )
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"encoder shape: {error}") from error


def _require_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArtifactError(f"encoder {name} is {value!r}, expected a whole number above 0")
