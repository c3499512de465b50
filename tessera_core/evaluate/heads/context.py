"""A small network that sees a d-pixel's neighbourhood: is it the pixel or what lies around it?"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError
from tessera_core.evaluate.heads.checks import settled

CONTEXT: Final = 5
"""Edge of the neighbourhood in pixels; the middle one is asked about."""

CHANNELS: Final = 64
DROPOUT: Final = 0.2
PEAK_LR: Final = 3e-3
BATCH_SIZE: Final = 256
NUM_STEPS: Final = 120


def predict_context(
    train: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    test: npt.NDArray[np.float32],
    *,
    seed: int,
    num_steps: int = NUM_STEPS,
) -> npt.NDArray[np.int64]:
    """Classify the middle of neighbourhoods.

    Args:
        train: (N, 5, 5, F), zero where there is no pixel.
        classes: (N,); one class alone gives that class.
        test: (M, 5, 5, F).
        seed: For weights, batches and dropout.
        num_steps: Updates.

    Raises:
        InputError: Neighbourhoods have another shape, or see ``check_rows``.
    """
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from tessera_core.evaluate.heads.networks import fit, own_chance, run, standardise_by

    if train.ndim != 4 or train.shape[1:3] != (CONTEXT, CONTEXT):
        raise InputError(
            f"neighbourhoods have shape {train.shape}, expected (rows, {CONTEXT}, {CONTEXT}, "
            "features)"
        )
    if (sole := settled(train, classes, test)) is not None:
        return sole
    codes, target = np.unique(classes, return_inverse=True)
    known, asked = (torch.from_numpy(np.asarray(each, np.float32)) for each in (train, test))
    known, asked = standardise_by(known, known, asked)
    known, asked = (each.permute(0, 3, 1, 2).contiguous() for each in (known, asked))
    truth = torch.from_numpy(target)
    with own_chance(seed):
        network = nn.Sequential(
            nn.Conv2d(known.shape[1], CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
            nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(CHANNELS, len(codes)),
        )  # fmt: skip
        fit(
            network,
            lambda rows: cross_entropy(network(known[rows]), truth[rows]),
            len(known),
            num_steps=num_steps, batch_size=BATCH_SIZE, peak_lr=PEAK_LR,
        )  # fmt: skip
        number = run(network, asked).argmax(dim=1).numpy()
    predicted: npt.NDArray[np.int64] = codes[number]
    return predicted
