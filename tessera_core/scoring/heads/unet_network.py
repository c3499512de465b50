"""The layers of the U-Net and what it is trained by."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

DROPOUT: Final = 0.1

IGNORED: Final = -100
"""The class number that torch's loss leaves out."""

TINY: Final = 1e-12
"""Below a root: the slope of a root at zero is infinite."""


class UNet(nn.Module):
    """Two levels down and up again, with what was seen on the way down handed across."""

    def __init__(self, num_features: int, num_outputs: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = widths
        self.entry = _block(num_features, first)
        self.down = _block(first, second)
        self.bottom = _block(second, third)
        self.up = nn.ConvTranspose2d(third, second, 2, stride=2)
        self.merge = _block(2 * second, second)
        self.top = nn.ConvTranspose2d(second, first, 2, stride=2)
        self.last = _block(2 * first, first)
        # What a linear probe sees is handed to the end, so that the network starts from there.
        self.out = nn.Conv2d(first + num_features, num_outputs, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, chips: Tensor) -> Tensor:
        """Return (B, outputs, S, S) of (B, F, S, S)."""
        fine = self.entry(chips)
        middle = self.down(self.pool(fine))
        coarse = self.bottom(self.pool(middle))
        middle = self.merge(torch.cat([middle, self.up(coarse)], dim=1))
        fine = self.last(torch.cat([fine, self.top(middle)], dim=1))
        found: Tensor = self.out(torch.cat([fine, chips], dim=1))
        return found


def flipped(chips: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return chips (B, F, S, S) and truth (B, S, S) flipped alike, along either axis by chance."""
    for axis in (-1, -2):
        if torch.rand(()) < 0.5:
            chips, truth = chips.flip(axis), truth.flip(axis)
    return chips, truth


def class_loss(output: Tensor, truth: Tensor) -> Tensor:
    """Return the mean cross-entropy of the labelled pixels.

    Args:
        output: (B, K, S, S).
        truth: (B, S, S) class numbers, NaN = not labelled; one label or more.
    """
    wanted = torch.nan_to_num(truth, nan=IGNORED).long()
    return cross_entropy(output, wanted, ignore_index=IGNORED)


def value_loss(output: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared error of the labelled pixels.

    Args:
        output: (B, 1, S, S).
        truth: (B, S, S) values, NaN = not labelled; one label or more.
    """
    labelled = torch.isfinite(truth)
    return (output[:, 0][labelled] - truth[labelled]).square().mean()


def chip_rmse_loss(output: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over chips of their root mean squared error; every chip has a label.

    A chip with few labels weighs as much as a full one, as in scores that are averaged by chip.
    """
    labelled = torch.isfinite(truth)
    error = torch.where(labelled, output[:, 0] - torch.nan_to_num(truth), 0.0)
    by_chip = error.square().sum(dim=(1, 2)) / labelled.sum(dim=(1, 2))
    return (by_chip + TINY).sqrt().mean()


def _block(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, padding=1), nn.BatchNorm2d(num_out), nn.ReLU(),
        nn.Dropout2d(DROPOUT),
    )  # fmt: skip
