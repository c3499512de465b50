"""The projector: widens embeddings for the loss and is thrown away after pretraining."""

from torch import nn


def build_projector(embedding_dim: int, width: int, num_layers: int) -> nn.Sequential:
    """Return ``num_layers`` linears, with batch norm and ReLU after all but the last.

    The released models use six of width 4096 to 16384 (method.md 4.5).
    """
    layers: list[nn.Module] = []
    size = embedding_dim
    for _ in range(num_layers - 1):
        layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU()]
        size = width
    layers.append(nn.Linear(size, width))
    return nn.Sequential(*layers)
