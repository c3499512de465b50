"""Observations of one sensor to one vector: a weighted mean whose weights are learnt.

Shapes: B d-pixels, T observations, D model width.

In all three forms the mean is over the transformer's outputs; a GRU, where there is one, only
gives the scores.
"""

import torch
from torch import Tensor, nn

from tessera_core.model.layers import Repeats
from tessera_core.model.shape import Pooling


class AttentionPooling(nn.Module):
    """One linear score per observation (method.md 4.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1)

    def forward(self, hidden_BTD: Tensor, repeats: Repeats | None = None) -> Tensor:
        """Return (B, D)."""
        score_BT1 = self.query(hidden_BTD)
        if repeats is not None:
            score_BT1 = score_BT1 + repeats.log_count_BU[..., None]
        return weighted_mean(hidden_BTD, score_BT1)


class RecurrentPooling(AttentionPooling):
    """Scores from a recurrent network, which sees every place of the sequence in its order."""

    def forward(self, hidden_BTD: Tensor, repeats: Repeats | None = None) -> Tensor:
        """Return (B, D)."""
        if repeats is not None:
            place_BL1 = repeats.place_BL[..., None]
            hidden_BTD = hidden_BTD.gather(1, place_BL1.expand(-1, -1, hidden_BTD.shape[-1]))
        return weighted_mean(hidden_BTD, self.query(self.context(hidden_BTD)))

    def context(self, hidden_BTD: Tensor) -> Tensor:
        """Return the network's state after each observation, (B, T, D)."""
        raise NotImplementedError


class TorchGruPooling(RecurrentPooling):
    """Scores from ``nn.GRU`` (method.md 4.1, early release)."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gru = nn.GRU(width, width, batch_first=True)

    def context(self, hidden_BTD: Tensor) -> Tensor:
        """Return the GRU's state after each observation."""
        context_BTD: Tensor = self.gru(hidden_BTD)[0]
        return context_BTD


class GatedGruPooling(RecurrentPooling):
    """Scores from the hand-written GRU of the QAT and v1.1 releases, behind a LayerNorm.

    r = sigmoid(Wr x + Ur h + br), z = sigmoid(Wz x + Uz h + bz),
    n = tanh(Wn x + Un (r h) + bn), h' = (1 - z) h + z n: against ``nn.GRU``, z has the opposite
    sense, the reset gate comes before the recurrent product, and each gate has one bias.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.input = nn.Linear(width, 3 * width)
        """Wr, Wz, Wn and their biases."""
        self.recurrent_gates = nn.Linear(width, 2 * width, bias=False)
        """Ur, Uz."""
        self.recurrent_new = nn.Linear(width, width, bias=False)
        """Un."""
        self.norm = nn.LayerNorm(width)

    def context(self, hidden_BTD: Tensor) -> Tensor:
        """Return the normalised state after each observation."""
        width = hidden_BTD.shape[-1]
        # Everything that does not wait for the state before is one product over all times.
        gates_BTG, new_BTD = self.input(hidden_BTD).split([2 * width, width], dim=-1)
        state_BD = torch.zeros_like(new_BTD[:, 0])
        states = []
        for gates_BG, new_BD in zip(gates_BTG.unbind(1), new_BTD.unbind(1), strict=True):
            gate_BG = torch.sigmoid(gates_BG + self.recurrent_gates(state_BD))
            reset_BD, update_BD = gate_BG.chunk(2, dim=-1)
            candidate_BD = torch.tanh(new_BD + self.recurrent_new(reset_BD * state_BD))
            state_BD = torch.lerp(state_BD, candidate_BD, update_BD)
            states.append(state_BD)
        context_BTD: Tensor = self.norm(torch.stack(states, dim=1))
        return context_BTD


POOLINGS = {
    Pooling.ATTENTION: AttentionPooling,
    Pooling.TORCH_GRU: TorchGruPooling,
    Pooling.GATED_GRU: GatedGruPooling,
}


def weighted_mean(hidden_BTD: Tensor, score_BT1: Tensor) -> Tensor:
    """Return the mean over time (B, D) under the softmax of the scores; one observation as is."""
    # Never less than float32: the mean over a hundred observations is what the map is made of.
    weight_BT1 = torch.softmax(score_BT1, dim=1, dtype=_wide(score_BT1.dtype))
    return (weight_BT1 * hidden_BTD).sum(dim=1)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32
