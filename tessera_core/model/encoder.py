"""The encoder: two series of one d-pixel in, one embedding out (method.md 4.1 to 4.4).

Shapes: B d-pixels, T observations, C bands, D model width, E embedding width.
"""

from copy import deepcopy
from typing import Final, Self

import torch
from torch import Tensor, nn

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.model.bfloat16_layer import is_bfloat16_training
from tessera_core.model.layers import Repeats, TransformerLayer, encode_days
from tessera_core.model.pooling import POOLINGS
from tessera_core.model.shape import EncoderConfig, Fusion, Reducer, SensorShape

REDUCER_EXPANSION: Final = 2
REDUCER_DROPOUT: Final = 0.2
FUSION_LAYERS: Final = 2
FUSION_HEADS: Final = 4
FUSION_EXPANSION: Final = 2
"""The teacher's fusion has this size whatever the encoder's (method.md 4.3)."""

TRAINING_TOKENS: Final = 10_240
"""How many tokens go through one sensor's layers at a time when training on a CPU. What a layer
holds for a moment then stays below 32 MiB, which the C library keeps for the next; above, every
page comes anew from the system, which took a tenth of a step."""


class Encoder(nn.Module):
    """Two sensor encoders, fused and reduced to one embedding."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, embedding = config.model_dim, config.embedding_dim
        self.s2 = SensorEncoder(NUM_S2, config.s2, config)
        self.s1 = SensorEncoder(NUM_S1, config.s1, config)
        self.fusion = TokenFusion(config) if config.fusion is Fusion.TRANSFORMER else None
        hidden = REDUCER_EXPANSION * 2 * width
        self.reducer = (
            nn.Linear(2 * width, embedding)
            if config.reducer is Reducer.LINEAR
            else nn.Sequential(
                nn.Linear(2 * width, hidden),
                nn.LayerNorm(hidden),
                nn.ReLU(),
                nn.Dropout(REDUCER_DROPOUT),
                nn.Linear(hidden, embedding),
            )
        )
        self.norm = (
            nn.LayerNorm(embedding, elementwise_affine=False)
            if config.final_norm
            else nn.Identity()
        )

    def forward(
        self,
        s2_BTC: Tensor,
        s1_BTC: Tensor,
        s2_repeats: Repeats | None = None,
        s1_repeats: Repeats | None = None,
    ) -> Tensor:
        """Return embeddings (B, E).

        Args:
            s2_BTC: (B, T2, 11) normalised bands and raw day of year as the last channel.
            s1_BTC: (B, T1, 3), likewise.
            s2_repeats: How the S2 observations make up their sequence, or None where they are it.
            s1_repeats: Likewise.
        """
        sensors = [self.s2(s2_BTC, s2_repeats), self.s1(s1_BTC, s1_repeats)]
        fused_BD = torch.cat(sensors, dim=-1) if self.fusion is None else self.fusion(*sensors)
        embedding_BE: Tensor = self.norm(self.reducer(fused_BD))
        return embedding_BE

    def in_bfloat16(self) -> Self:
        """Return a copy whose sensor encoders compute in bfloat16, days of year excepted.

        Fusion and reducer, which run once per d-pixel and decide its last digits, stay as they are.
        """
        copy = deepcopy(self)
        copy.s2.bfloat16()
        copy.s1.bfloat16()
        return copy


class SensorEncoder(nn.Module):
    """Observations of one sensor to one vector."""

    def __init__(self, num_bands: int, sensor: SensorShape, config: EncoderConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.embedding = nn.Sequential(
            nn.Linear(num_bands, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.layers = nn.ModuleList(
            TransformerLayer(
                width,
                sensor.num_heads,
                sensor.feedforward_dim,
                norm_first=config.norm_first,
                qk_norm=config.qk_norm,
                dropout=config.dropout,
            )
            for _ in range(sensor.num_layers)
        )
        self.pool = POOLINGS[config.pooling](width)

    def forward(self, tokens_BTC: Tensor, repeats: Repeats | None = None) -> Tensor:
        """Return (B, D) for tokens (B, T, bands + 1), day of year last."""
        if repeats is None and is_bfloat16_training(self, tokens_BTC):
            size = max(1, TRAINING_TOKENS // tokens_BTC.shape[1])
            return torch.cat([self._encode(part_BTC, None) for part_BTC in tokens_BTC.split(size)])
        return self._encode(tokens_BTC, repeats)

    def _encode(self, tokens_BTC: Tensor, repeats: Repeats | None) -> Tensor:
        bands_BTC = tokens_BTC[..., :-1].to(next(self.embedding.parameters()).dtype)
        hidden_BTD = self.embedding(bands_BTC)
        # Days are whole float32 numbers; only their sines may be rounded.
        days_BTD = encode_days(tokens_BTC[..., -1], hidden_BTD.shape[-1])
        hidden_BTD = hidden_BTD + days_BTD.to(bands_BTC.dtype)
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD, None if repeats is None else repeats.log_count_BU)
        pooled_BD: Tensor = self.pool(hidden_BTD, repeats)
        return pooled_BD


class TokenFusion(nn.Module):
    """The two sensors as two tokens through transformer layers, then side by side."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.modality = nn.Parameter(torch.zeros(2, width))
        self.layers = nn.ModuleList(
            TransformerLayer(
                width,
                FUSION_HEADS,
                FUSION_EXPANSION * width,
                norm_first=config.norm_first,
                qk_norm=config.qk_norm,
                dropout=config.dropout,
            )
            for _ in range(FUSION_LAYERS)
        )

    def forward(self, s2_BD: Tensor, s1_BD: Tensor) -> Tensor:
        """Return (B, 2 D)."""
        tokens_BTD = torch.stack([s2_BD, s1_BD], dim=1) + self.modality
        for layer in self.layers:
            tokens_BTD = layer(tokens_BTD)
        return tokens_BTD.flatten(1)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())
