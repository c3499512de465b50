"""The three-layer perceptron of the TESSERA authors' crop protocol, trained briefly."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.scoring.heads.targets import classify, regress

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

WIDTHS: Final = (512, 256)
DROPOUT: Final = 0.3
PEAK_LR: Final = 3e-3
BATCH_SIZE: Final = 256
NUM_STEPS: Final = 100
"""Theirs are 200 epochs in batches of 8192; on a few thousand rows these steps see each as often as
it takes to stop gaining."""


def predict_mlp(
    train: Floats, classes: Ints, test: Floats, *, seed: int, num_steps: int = NUM_STEPS
) -> Ints:
    """Classify by 512, 256 and one output per class; one class alone gives that class."""
    return classify(train, classes, test, partial(run_mlp, seed=seed, num_steps=num_steps))


def predict_mlp_value(
    train: Floats,
    target: npt.NDArray[np.float64],
    test: Floats,
    *,
    seed: int,
    num_steps: int = NUM_STEPS,
) -> npt.NDArray[np.float64]:
    """Regress by the same network with one output; one value alone gives that value."""
    return regress(train, target, test, partial(run_mlp, seed=seed, num_steps=num_steps))


def run_mlp(
    train: Floats,
    target: npt.NDArray[Any],
    test: Floats,
    *,
    num_outputs: int,
    loss: Callable[..., Any],
    seed: int,
    num_steps: int,
) -> npt.NDArray[np.float32]:
    """Fit the network and return its outputs for the test rows, (M, outputs).

    Args:
        train: (N, F), two rows or more.
        target: (N, ...) what ``loss`` takes beside the outputs.
        test: (M, F).
        num_outputs: Outputs per row.
        loss: (outputs, target) of a batch -> its loss.
        seed: For weights, batches and dropout.
        num_steps: Updates.
    """
    import torch
    from torch import nn

    from tessera_core.scoring.heads.networks import fit, own_chance, run, standardise_by

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
        fit(
            network,
            lambda rows: loss(network(known[rows]), truth[rows]),
            len(known),
            num_steps=num_steps, batch_size=BATCH_SIZE, peak_lr=PEAK_LR,
        )  # fmt: skip
        output: npt.NDArray[np.float32] = run(network, asked).numpy()
    return output
