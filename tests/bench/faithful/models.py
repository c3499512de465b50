"""The released TESSERA encoders as plain torch modules, written from their description.

Names and shapes of the parameters are those of the released checkpoints, so that one state dict
serves this reference and whatever is measured against it. Nothing here is tuned, neither for
speed nor against it: eager float32, torch's own layers wherever the releases use them.

Shapes: B pixels, T observations, C channels, E model width (4 x latent_dim), D representation.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

DROPOUT = 0.1
REDUCER_DROPOUT = 0.2
S2_CHANNELS, S1_CHANNELS = 10, 2


# ------------------------------------------------------------------------------------- parts


def day_encoding(days: Tensor, width: int) -> Tensor:
    """Return sine (even columns) and cosine (odd) of the raw day of year, (B, T) to (B, T, E)."""
    rate = torch.exp(
        torch.arange(0, width, 2, dtype=torch.float32, device=days.device)
        * -(math.log(10000.0) / width)
    )
    angle = days.unsqueeze(-1).float() * rate
    encoding = torch.zeros(*days.shape, width, device=days.device)
    encoding[..., 0::2] = torch.sin(angle)
    encoding[..., 1::2] = torch.cos(angle)
    return encoding


class AttentionPool(nn.Module):
    """v2: a learnt weight per observation, softmax over time; (B, T, E) to (B, E)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.query(x), dim=1)
        return (weights * x).sum(dim=1)


class GruPool(nn.Module):
    """v1.0 early: torch's GRU gives the scores, the layers' output is what they weigh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1)
        self.temporal_context = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        context, _ = self.temporal_context(x)
        weights = torch.softmax(self.query(context), dim=1)
        return (weights * x).sum(dim=1)


class GruCell(nn.Module):
    """One step of the hand-written GRU of the QAT and v1.1 releases; not that of torch.

    One bias per gate, reset gate applied before the recurrent matrix, update gate in the
    opposite sense.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W_ir = nn.Linear(width, width, bias=False)
        self.W_hr = nn.Linear(width, width, bias=False)
        self.b_r = nn.Parameter(torch.zeros(width))
        self.W_iz = nn.Linear(width, width, bias=False)
        self.W_hz = nn.Linear(width, width, bias=False)
        self.b_z = nn.Parameter(torch.zeros(width))
        self.W_ih = nn.Linear(width, width, bias=False)
        self.W_hh = nn.Linear(width, width, bias=False)
        self.b_h = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Map (B, E) and (B, E) to the next hidden state, (B, E)."""
        reset = torch.sigmoid(self.W_ir(x) + self.W_hr(hidden) + self.b_r)
        update = torch.sigmoid(self.W_iz(x) + self.W_hz(hidden) + self.b_z)
        new = torch.tanh(self.W_ih(x) + self.W_hh(reset * hidden) + self.b_h)
        return (1 - update) * hidden + update * new


class HandWrittenGru(nn.Module):
    """The cell, stepped over time in Python; (B, T, E) to (B, T, E)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru_cell = GruCell(width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.zeros(x.shape[0], x.shape[2], dtype=x.dtype, device=x.device)
        outputs = []
        for t in range(x.shape[1]):
            hidden = self.gru_cell(x[:, t], hidden)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)


class HandWrittenGruPool(nn.Module):
    """v1.0 QAT and v1.1: as `GruPool`, with the hand-written GRU and a LayerNorm after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1)
        self.temporal_context = HandWrittenGru(width)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            return x.squeeze(1)
        context = self.layer_norm(self.temporal_context(x))
        weights = torch.softmax(self.query(context), dim=1)
        return (weights * x).sum(dim=1)


class QkNormLayer(nn.Module):
    """A post-norm layer with queries and keys normalised per head, in float32."""

    def __init__(self, width: int, nhead: int, dim_feedforward: int) -> None:
        super().__init__()
        self.nhead = nhead
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.q_norm = nn.RMSNorm(width // nhead)
        self.k_norm = nn.RMSNorm(width // nhead)
        self.linear1 = nn.Linear(width, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self._attention(x)))
        hidden = self.dropout(functional.relu(self.linear1(x)))
        return self.norm2(x + self.dropout(self.linear2(hidden)))

    def _attention(self, x: Tensor) -> Tensor:
        num, length, width = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(num, length, self.nhead, width // self.nhead).transpose(1, 2)

        q = self.q_norm(heads(self.q_proj(x)).float()).to(x.dtype)
        k = self.k_norm(heads(self.k_proj(x)).float()).to(x.dtype)
        y = functional.scaled_dot_product_attention(q, k, heads(self.v_proj(x)))
        return self.out_proj(y.transpose(1, 2).reshape(num, length, width))


# --------------------------------------------------------------------------------- backbones


class Backbone(nn.Module):
    """One modality: (B, T, C + 1), day of year last, to (B, E)."""

    def __init__(
        self,
        channels: int,
        width: int,
        num_layers: int,
        nhead: int,
        dim_feedforward: int,
        pool: nn.Module,
        *,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width)
        )
        if qk_norm:
            self.transformer_encoder: nn.Module = nn.ModuleList(
                QkNormLayer(width, nhead, dim_feedforward) for _ in range(num_layers)
            )
        else:
            layer = nn.TransformerEncoderLayer(
                width, nhead, dim_feedforward, DROPOUT, activation="relu", batch_first=True
            )
            self.transformer_encoder = nn.TransformerEncoder(layer, num_layers)
        self.attn_pool = pool

    def forward(self, x: Tensor) -> Tensor:
        bands, days = x[..., :-1], x[..., -1]
        y = self.embedding(bands)
        y = y + day_encoding(days, self.width).to(y.dtype)
        if isinstance(self.transformer_encoder, nn.ModuleList):
            for layer in self.transformer_encoder:
                y = layer(y)
        else:
            y = self.transformer_encoder(y)
        return self.attn_pool(y)


def mlp_reducer(latent_dim: int, representation_dim: int) -> list[nn.Module]:
    """Return the layers that v1.1 and v2 share, from (B, 2 E) to (B, D)."""
    return [
        nn.Linear(8 * latent_dim, 16 * latent_dim),
        nn.LayerNorm(16 * latent_dim),
        nn.ReLU(),
        nn.Dropout(REDUCER_DROPOUT),
        nn.Linear(16 * latent_dim, representation_dim),
    ]


class Encoder(nn.Module):
    """Both backbones, concatenated and reduced."""

    s2_backbone: Backbone
    s1_backbone: Backbone
    dim_reducer: nn.Sequential
    representation_dim: int

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Map (B, T, 11) and (B, T', 3) to (B, D)."""
        fused = torch.cat([self.s2_backbone(s2), self.s1_backbone(s1)], dim=-1)
        return self.dim_reducer(fused)

    def checkpoint(self) -> dict[str, Any]:
        """Return what a release's file holds, without projector and optimiser."""
        return {"epoch": 0, "step": 0, "model_state": self.state_dict()}


# ---------------------------------------------------------------------------------- releases


class EncoderV10Early(Encoder):
    """v1.0, first release (full size: the defaults, 87,841,922 parameters)."""

    def __init__(
        self,
        latent_dim: int = 128,
        num_layers: int = 8,
        nhead: int = 8,
        dim_feedforward: int = 4096,
    ) -> None:
        super().__init__()
        width = 4 * latent_dim
        shape = (width, num_layers, nhead, dim_feedforward)
        self.s2_backbone = Backbone(S2_CHANNELS, *shape, GruPool(width))
        self.s1_backbone = Backbone(S1_CHANNELS, *shape, GruPool(width))
        self.dim_reducer = nn.Sequential(nn.Linear(2 * width, latent_dim))
        self.representation_dim = latent_dim


class EncoderV10Qat(Encoder):
    """v1.0, second release (full size: the defaults, 45,828,226 parameters)."""

    def __init__(
        self,
        latent_dim: int = 128,
        num_layers: int = 4,
        nhead: int = 4,
        dim_feedforward: int = 4096,
    ) -> None:
        super().__init__()
        width = 4 * latent_dim
        shape = (width, num_layers, nhead, dim_feedforward)
        self.s2_backbone = Backbone(S2_CHANNELS, *shape, HandWrittenGruPool(width))
        self.s1_backbone = Backbone(S1_CHANNELS, *shape, HandWrittenGruPool(width))
        self.dim_reducer = nn.Sequential(nn.Linear(2 * width, latent_dim))
        self.representation_dim = latent_dim


class EncoderV11(Encoder):
    """v1.1 (full size: the defaults, 57,708,738 parameters).

    Args:
        representation_dim: D; what is saved is its first `save_embedding_dim`.
        s1: Layers, heads and feed-forward width of the radar backbone, where they differ.
    """

    def __init__(
        self,
        latent_dim: int = 192,
        num_layers: int = 4,
        nhead: int = 4,
        dim_feedforward: int = 2048,
        *,
        representation_dim: int = 192,
        save_embedding_dim: int = 128,
        s1: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        width = 4 * latent_dim
        s2 = (num_layers, nhead, dim_feedforward)
        s1 = s1 or s2
        self.s2_backbone = Backbone(S2_CHANNELS, width, *s2, HandWrittenGruPool(width))
        self.s1_backbone = Backbone(S1_CHANNELS, width, *s1, HandWrittenGruPool(width))
        self.dim_reducer = nn.Sequential(*mlp_reducer(latent_dim, representation_dim))
        self.representation_dim = representation_dim
        names = ("num_layers", "num_heads", "dim_feedforward")
        self.config = {
            "fusion_method": "concat",
            "latent_dim": latent_dim,
            "representation_dim": representation_dim,
            "save_embedding_dim": save_embedding_dim,
            **{f"s2_{name}": value for name, value in zip(names, s2, strict=True)},
            **{f"s1_{name}": value for name, value in zip(names, s1, strict=True)},
        }

    def checkpoint(self) -> dict[str, Any]:
        return {**super().checkpoint(), "config": dict(self.config)}


class StudentV2(Encoder):
    """v2 pixel student (the defaults: the small one, 7,112,322 parameters)."""

    def __init__(
        self,
        latent_dim: int = 64,
        num_layers: int = 4,
        nhead: int = 4,
        dim_feedforward: int = 1024,
        *,
        representation_dim: int = 128,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        width = 4 * latent_dim
        shape = (width, num_layers, nhead, dim_feedforward)
        self.s2_backbone = Backbone(S2_CHANNELS, *shape, AttentionPool(width), qk_norm=qk_norm)
        self.s1_backbone = Backbone(S1_CHANNELS, *shape, AttentionPool(width), qk_norm=qk_norm)
        self.dim_reducer = nn.Sequential(
            *mlp_reducer(latent_dim, representation_dim),
            nn.LayerNorm(representation_dim, elementwise_affine=False),
        )
        self.representation_dim = representation_dim
        self.args = {
            "repr_dim": representation_dim,
            "latent_dim": latent_dim,
            "num_layers": num_layers,
            "nhead": nhead,
            "dim_feedforward": dim_feedforward,
            "max_seq_len": 256,
            "matryoshka_dims": "16,32,64,128",
            "enable_qk_norm": qk_norm,
        }

    def checkpoint(self) -> dict[str, Any]:
        return {"model": self.state_dict(), "args": dict(self.args)}
