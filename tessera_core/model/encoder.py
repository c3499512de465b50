"""The encoder: two series of one d-pixel in, one embedding out (method.md 4.4).

Shapes: B d-pixels, T observations, C bands, D model width, E embedding width.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.errors import ArtifactError

FAMILY: Final = "v2-student"
REDUCER_EXPANSION: Final = 2
REDUCER_DROPOUT: Final = 0.2
PERIOD_BASE: Final = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Everything that decides the encoder's function but its weights."""

    family: str
    """Block, pooling, fusion and reducer of a TESSERA release; so far ``v2-student``:
    post-norm layers, attention pooling, concatenation, MLP and a final norm without weights."""

    model_dim: int
    """D, width of each sensor's encoder."""

    num_layers: int
    """Transformer layers per sensor."""

    num_heads: int
    """Attention heads per layer."""

    feedforward_dim: int
    """Width inside the feed-forward part."""

    embedding_dim: int
    """E, values of one embedding."""

    dropout: float
    """Dropout inside layers while training."""

    def __post_init__(self) -> None:
        """Refuse families that this code does not implement, and shapes that no encoder has."""
        if self.family != FAMILY:
            raise ArtifactError(f"encoder family {self.family!r} is unknown, expected {FAMILY!r}")
        for name in ("model_dim", "num_layers", "num_heads", "feedforward_dim", "embedding_dim"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ArtifactError(f"encoder {name} is {value!r}, expected a whole number above 0")
        if self.model_dim % self.num_heads or self.model_dim % 2:
            raise ArtifactError(
                f"encoder model_dim {self.model_dim} must be even and divisible by num_heads "
                f"{self.num_heads}"
            )


class Encoder(nn.Module):
    """Two sensor encoders, concatenated and reduced to one embedding."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.s2 = SensorEncoder(NUM_S2, config)
        self.s1 = SensorEncoder(NUM_S1, config)
        hidden = REDUCER_EXPANSION * 2 * width
        self.reducer = nn.Sequential(
            nn.Linear(2 * width, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Dropout(REDUCER_DROPOUT),
            nn.Linear(hidden, config.embedding_dim),
        )
        self.norm = nn.LayerNorm(config.embedding_dim, elementwise_affine=False)

    def forward(self, s2_BTC: Tensor, s1_BTC: Tensor) -> Tensor:
        """Return embeddings (B, E) of zero mean and unit deviation each.

        Args:
            s2_BTC: (B, T2, 11) normalised bands and raw day of year as the last channel.
            s1_BTC: (B, T1, 3), likewise.
        """
        fused_BD = torch.cat([self.s2(s2_BTC), self.s1(s1_BTC)], dim=-1)
        embedding_BE: Tensor = self.norm(self.reducer(fused_BD))
        return embedding_BE


class SensorEncoder(nn.Module):
    """Observations of one sensor to one vector."""

    def __init__(self, num_bands: int, config: EncoderConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.embedding = nn.Sequential(
            nn.Linear(num_bands, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                config.num_heads,
                config.feedforward_dim,
                config.dropout,
                batch_first=True,
            )
            for _ in range(config.num_layers)
        )
        self.pool = nn.Linear(width, 1)
        # Frequencies are arithmetic, not weights: they stay out of the artifact.
        steps = torch.arange(0, width, 2, dtype=torch.float32) / width
        self.register_buffer("frequency_D", PERIOD_BASE**-steps, persistent=False)

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (B, D) for tokens (B, T, bands + 1), day of year last."""
        hidden_BTD = self.embedding(tokens_BTC[..., :-1]) + self.encode_days(tokens_BTC[..., -1])
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD)
        weight_BT1 = torch.softmax(self.pool(hidden_BTD), dim=1)
        pooled_BD: Tensor = (weight_BT1 * hidden_BTD).sum(dim=1)
        return pooled_BD

    def encode_days(self, day_BT: Tensor) -> Tensor:
        """Return sine and cosine of the raw day of year, interleaved (method.md 4.1).

        Always float32: bfloat16 cannot tell day 257 from 256.
        """
        frequency_D = self.frequency_D
        assert isinstance(frequency_D, Tensor)  # noqa: S101 - buffers are typed as modules too
        with torch.autocast(day_BT.device.type, enabled=False):
            angle_BTD = day_BT.float()[..., None] * frequency_D
            return torch.stack([angle_BTD.sin(), angle_BTD.cos()], dim=-1).flatten(-2)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())
