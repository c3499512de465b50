"""A U-Net over chips of embeddings, as in the TESSERA authors' patch protocols (method.md 8.2).

Theirs has widths 128, 256, 512 and 200 epochs; ours is narrower and trains for a fixed number of
updates, so that a fold takes seconds on two cores.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tessera_core.errors import InputError
from tessera_core.evaluate.heads.networks import fit, own_chance, standardise_by

WIDTHS: Final = (32, 64, 96)
DROPOUT: Final = 0.1
PEAK_LR: Final = 4e-3
BATCH_SIZE: Final = 12
NUM_STEPS: Final = 100
IGNORED: Final = -100
"""What torch's loss leaves out."""

MULTIPLE: Final = 4
"""Chips are halved twice."""


def predict_unet(
    train: npt.NDArray[np.float32],
    truth: npt.NDArray[np.floating[Any]],
    test: npt.NDArray[np.float32],
    *,
    num_classes: int | None,
    seed: int,
) -> npt.NDArray[Any]:
    """Return a class number, or a value, for every pixel of the test chips, (M, S, S).

    Args:
        train: (C, S, S, F), S a multiple of 4.
        truth: (C, S, S) class numbers or values, NaN = not labelled.
        test: (M, S, S, F).
        num_classes: K; None regresses, by mean squared error.
        seed: For weights, batches and flips.

    Raises:
        InputError: The chips' edge is no multiple of 4, or nothing is labelled.
    """
    if train.shape[1] % MULTIPLE or train.shape[1] != train.shape[2]:
        raise InputError(
            f"chips are {train.shape[1]} x {train.shape[2]} pixels, expected squares with an edge "
            f"that is a multiple of {MULTIPLE}"
        )
    labelled = np.isfinite(truth)
    if not labelled.any():
        raise InputError("no pixel of the training chips is labelled")
    known, asked = standardise_by(*(torch.from_numpy(each) for each in (train, train, test)))
    known, asked = (each.permute(0, 3, 1, 2).contiguous() for each in (known, asked))
    mean, deviation = (0.0, 1.0) if num_classes else _moments(truth[labelled])
    target = torch.from_numpy(np.where(labelled, (truth - mean) / deviation, IGNORED))
    with own_chance(seed):
        network = UNet(known.shape[1], num_classes or 1)

        def loss(rows: Tensor) -> Tensor:
            chips, wanted = _flipped(known[rows], target[rows])
            return _loss(network(chips), wanted, is_class=num_classes is not None)

        fit(
            network, loss, len(known),
            num_steps=NUM_STEPS, batch_size=min(BATCH_SIZE, len(known)), peak_lr=PEAK_LR,
        )  # fmt: skip
        with torch.no_grad():
            output = torch.cat([network(part) for part in asked.split(BATCH_SIZE)])
    if num_classes is not None:
        classes: npt.NDArray[np.int64] = output.argmax(dim=1).numpy()
        return classes
    values: npt.NDArray[np.float64] = output[:, 0].numpy().astype(np.float64) * deviation + mean
    return values


class UNet(nn.Module):
    """Two levels down and up again, with what was seen on the way down handed across."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
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


def _block(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, padding=1), nn.BatchNorm2d(num_out), nn.ReLU(),
        nn.Dropout2d(DROPOUT),
    )  # fmt: skip


def _flipped(chips: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return chips and truth flipped alike, along either axis by chance."""
    for axis in (-1, -2):
        if torch.rand(()) < 0.5:
            chips, truth = chips.flip(axis), truth.flip(axis)
    return chips, truth


def _loss(output: Tensor, wanted: Tensor, *, is_class: bool) -> Tensor:
    if is_class:
        return cross_entropy(output, wanted.long(), ignore_index=IGNORED)
    known = wanted != IGNORED
    return (output[:, 0][known] - wanted[known].float()).square().mean()


def _moments(values: npt.NDArray[np.floating[Any]]) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) or 1.0
