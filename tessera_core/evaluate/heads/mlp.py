"""The three-layer perceptron of the TESSERA authors' crop protocol, trained briefly."""

import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.evaluate.heads.checks import only_class

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

WIDTHS: Final = (512, 256)
DROPOUT: Final = 0.3
PEAK_LR: Final = 3e-3
BATCH_SIZE: Final = 256
NUM_STEPS: Final = 100
"""Theirs are 200 epochs in batches of 8192; on a few thousand rows these steps see each as often as
it takes to stop gaining."""


def predict_mlp(train: Floats, classes: Ints, test: Floats, *, seed: int) -> Ints:
    """Classify by 512, 256 and one output per class; one class alone gives that class."""
    from torch.nn.functional import cross_entropy

    if (sole := only_class(classes)) is not None:
        return np.full(len(test), sole)
    codes, target = np.unique(classes, return_inverse=True)
    output = _run(train, target, test, len(codes), cross_entropy, seed)
    predicted: Ints = codes[output.argmax(axis=1)]
    return predicted


def predict_mlp_value(
    train: Floats, target: npt.NDArray[np.float64], test: Floats, *, seed: int
) -> npt.NDArray[np.float64]:
    """Regress by the same network with one output."""
    from torch.nn.functional import mse_loss

    mean, deviation = target.mean(), target.std() or 1.0
    scaled = ((target - mean) / deviation).astype(np.float32)[:, None]
    output = _run(train, scaled, test, 1, mse_loss, seed)[:, 0].astype(np.float64)
    return np.asarray(output * deviation + mean)


def _run(
    train: Floats,
    target: npt.NDArray[Any],
    test: Floats,
    num_outputs: int,
    criterion: Callable[..., Any],
    seed: int,
) -> npt.NDArray[np.float32]:
    import torch
    from torch import nn

    from tessera_core.evaluate.heads.networks import fit, own_chance, standardise_by

    known = torch.from_numpy(np.asarray(train, np.float32))
    known, asked = standardise_by(known, known, torch.from_numpy(np.asarray(test, np.float32)))
    truth = torch.from_numpy(target)
    sizes = (known.shape[1], *WIDTHS)
    layers: list[nn.Module] = []
    with own_chance(seed):
        for wide, narrow in itertools.pairwise(sizes):
            layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU(),
                       nn.Dropout(DROPOUT)]  # fmt: skip
        network = nn.Sequential(*layers, nn.Linear(sizes[-1], num_outputs))
        if len(known) > 1:  # batch norm has nothing to normalise by otherwise
            fit(
                network,
                lambda rows: criterion(network(known[rows]), truth[rows]),
                len(known),
                num_steps=NUM_STEPS, batch_size=min(BATCH_SIZE, len(known)), peak_lr=PEAK_LR,
            )  # fmt: skip
        network.eval()
        with torch.no_grad():
            output: npt.NDArray[np.float32] = network(asked).numpy()
    return output
