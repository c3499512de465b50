"""A U-Net over chips of embeddings, as in the TESSERA authors' patch protocols (method.md 8.2).

Theirs has widths 128, 256, 512 and 200 epochs; ours is narrower and trains for a fixed number of
updates, so that a fold takes seconds on two cores.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError
from tessera_core.scoring.heads.checks import check_finite

if TYPE_CHECKING:
    from torch import Tensor

Chips = npt.NDArray[np.float32]
Truth = npt.NDArray[np.floating[Any]]

WIDTHS: Final = (32, 64, 96)
PEAK_LR: Final = 4e-3
BATCH_SIZE: Final = 12
NUM_STEPS: Final = 100

MULTIPLE: Final = 4
"""Chips are halved twice."""


def predict_unet(
    train: Chips,
    truth: Truth,
    test: Chips,
    *,
    num_classes: int | None,
    seed: int,
    widths: tuple[int, int, int] = WIDTHS,
    num_steps: int = NUM_STEPS,
    by_chip: bool = False,
) -> npt.NDArray[Any]:
    """Return a class number, or a value, for every pixel of the test chips, (M, S, S).

    Training chips without any label teach nothing and are left out. Where all labels are the same,
    that one is predicted everywhere.

    Args:
        train: (C, S, S, F), S a multiple of 4.
        truth: (C, S, S) class numbers 0..K-1 or values, NaN = not labelled.
        test: (M, S, S, F), of any such S.
        num_classes: K; None regresses.
        seed: For weights, batches, dropout and flips.
        widths: Channels at full, half and quarter resolution.
        num_steps: Updates.
        by_chip: Regress by the mean over chips of their root mean squared error, as the authors do
            for biomass, instead of the squared error of all pixels.

    Raises:
        InputError: Shapes do not fit, a feature is not finite, a class number is out of range, or
            nothing is labelled.
    """
    from tessera_core.scoring.heads.networks import own_chance

    _check_chips(train, truth, test, num_classes)
    labels = truth[np.isfinite(truth)]
    if not len(test) or (labels == labels[0]).all():
        return np.full(test.shape[:3], labels[0], np.float64 if num_classes is None else np.int64)
    mean, deviation = (
        (0.0, 1.0) if num_classes is not None else (float(labels.mean()), float(labels.std()))
    )
    is_labelled = np.isfinite(truth).any(axis=(1, 2))
    if is_labelled.sum() == 1:
        # At quarter resolution a chip may be one pixel, and batch norm needs two.
        is_labelled = np.repeat(np.flatnonzero(is_labelled), 2)
    with own_chance(seed):
        output = _fit_and_run(
            train[is_labelled], (truth[is_labelled] - mean) / deviation, test,
            num_classes, widths, num_steps, by_chip=by_chip,
        )  # fmt: skip
    if num_classes is not None:
        classes: npt.NDArray[np.int64] = output.argmax(dim=1).numpy()
        return classes
    return np.asarray(output[:, 0].numpy().astype(np.float64) * deviation + mean)


def _fit_and_run(
    train: Chips,
    truth: Truth,
    test: Chips,
    num_classes: int | None,
    widths: tuple[int, int, int],
    num_steps: int,
    *,
    by_chip: bool,
) -> "Tensor":
    """Return the outputs for the test chips, (M, K or 1, S, S)."""
    import torch

    from tessera_core.scoring.heads.networks import fit, run, standardise_by
    from tessera_core.scoring.heads.unet_network import (
        UNet,
        chip_rmse_loss,
        class_loss,
        flipped,
        value_loss,
    )

    known, asked = (torch.from_numpy(np.asarray(each, np.float32)) for each in (train, test))
    known, asked = standardise_by(known, known, asked)
    known, asked = (each.permute(0, 3, 1, 2).contiguous() for each in (known, asked))
    target = torch.from_numpy(truth.astype(np.float32))
    network = UNet(known.shape[1], num_classes or 1, widths)
    criterion = class_loss if num_classes else chip_rmse_loss if by_chip else value_loss

    def loss(rows: "Tensor") -> "Tensor":
        chips, wanted = flipped(known[rows], target[rows])
        return criterion(network(chips), wanted)

    fit(
        network, loss, len(known), num_steps=num_steps, batch_size=BATCH_SIZE, peak_lr=PEAK_LR
    )  # fmt: skip
    return run(network, asked, rows_at_once=BATCH_SIZE)


def _check_chips(train: Chips, truth: Truth, test: Chips, num_classes: int | None) -> None:
    for chips in (train, test):
        if chips.ndim != 4 or chips.shape[1] % MULTIPLE or chips.shape[1] != chips.shape[2]:
            raise InputError(
                f"chips have shape {chips.shape}, expected (chips, S, S, features) with an edge S "
                f"that is a multiple of {MULTIPLE}"
            )
    if truth.shape != train.shape[:3] or train.shape[3] != test.shape[3]:
        raise InputError(
            f"training chips {train.shape} have truth {truth.shape} and test chips {test.shape}, "
            "expected a truth per training pixel and the same features on both sides"
        )
    check_finite(**{"training chips": train, "test chips": test})
    labels = truth[np.isfinite(truth)]
    if not len(labels):
        raise InputError("no pixel of the training chips is labelled; give chips with labels")
    if num_classes is not None and not (labels.min() >= 0 and labels.max() < num_classes):
        raise InputError(
            f"training chips are labelled {labels.min():g} to {labels.max():g}, expected class "
            f"numbers 0 to {num_classes - 1}"
        )
