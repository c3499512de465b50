"""A small network that sees a d-pixel's neighbourhood: is it the pixel or what lies around it?"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import InputError
from tessera_core.scoring.heads.checks import check_rows, settled

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
    test: Iterable[npt.NDArray[np.float32]],
    *,
    seed: int,
    num_steps: int = NUM_STEPS,
) -> npt.NDArray[np.int64]:
    """Classify the middle of neighbourhoods.

    Args:
        train: (N, 5, 5, F), zero where there is no pixel.
        classes: (N,); one class alone gives that class.
        test: Blocks of (M, 5, 5, F), one in memory at a time: neighbourhoods are 25 times as
            large as what they are taken from.
        seed: For weights, batches and dropout.
        num_steps: Updates.

    Raises:
        InputError: Neighbourhoods have another shape, or see ``check_rows``.
    """
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from tessera_core.scoring.heads.networks import fit, own_chance, run, scale_by

    if train.ndim != 4 or train.shape[1:3] != (CONTEXT, CONTEXT):
        raise InputError(
            f"neighbourhoods have shape {train.shape}, expected (rows, {CONTEXT}, {CONTEXT}, "
            "features)"
        )
    check_rows(train, classes, train[:0])
    codes, target = np.unique(classes, return_inverse=True)
    tensor = torch.from_numpy(np.asarray(train, np.float32))
    scale = scale_by(tensor)
    known, truth = scale(tensor).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(target)

    def answer(block: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        if (sole := settled(train, classes, block)) is not None:
            return sole
        asked = scale(torch.from_numpy(np.asarray(block, np.float32))).permute(0, 3, 1, 2)
        number: npt.NDArray[np.int64] = run(network, asked).argmax(dim=1).numpy()
        return codes[number]

    with own_chance(seed):
        network = nn.Sequential(
            nn.Conv2d(known.shape[1], CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
            nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(CHANNELS, len(codes)),
        )  # fmt: skip
        if len(codes) > 1:
            fit(
                network,
                lambda rows: cross_entropy(network(known[rows]), truth[rows]),
                len(known),
                num_steps=num_steps, batch_size=BATCH_SIZE, peak_lr=PEAK_LR,
            )  # fmt: skip
        return np.concatenate([np.empty(0, np.int64), *map(answer, test)])
