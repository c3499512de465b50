"""A small supervised network on the raw series: what labels teach without pretraining."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.scoring.heads.targets import classify, regress

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

CHANNELS: Final = 32
KERNEL: Final = 5
DENSE: Final = 128
DROPOUT: Final = 0.3
PEAK_LR: Final = 3e-3
BATCH_SIZE: Final = 128
NUM_STEPS: Final = 120


def predict_temporal_cnn(
    train: Floats, classes: Ints, test: Floats, *, seed: int, num_steps: int = NUM_STEPS
) -> Ints:
    """Classify series by three convolutions over time and a dense layer (TempCNN's shape).

    Args:
        train: (N, T, C) regular series.
        classes: (N,); one class alone gives that class.
        test: (M, T, C).
        seed: For weights, batches and dropout.
        num_steps: Updates.
    """
    return classify(train, classes, test, partial(_run, seed=seed, num_steps=num_steps))


def predict_temporal_cnn_value(
    train: Floats,
    target: npt.NDArray[np.float64],
    test: Floats,
    *,
    seed: int,
    num_steps: int = NUM_STEPS,
) -> npt.NDArray[np.float64]:
    """Regress by the same network with one output; one value alone gives that value."""
    return regress(train, target, test, partial(_run, seed=seed, num_steps=num_steps))


def _run(
    train: Floats,
    target: npt.NDArray[Any],
    test: Floats,
    *,
    num_outputs: int,
    loss: Callable[..., Any],
    seed: int,
    num_steps: int,
) -> npt.NDArray[np.float32]:
    import torch
    from torch import nn

    from tessera_core.scoring.heads.networks import fit, own_chance, run, standardise_by

    known = torch.from_numpy(np.asarray(train, np.float32))
    known, asked = standardise_by(known, known, torch.from_numpy(np.asarray(test, np.float32)))
    known, asked = known.transpose(1, 2).contiguous(), asked.transpose(1, 2).contiguous()
    truth = torch.from_numpy(target)
    num_channels, num_times = known.shape[1:]
    layers: list[nn.Module] = []
    with own_chance(seed):
        for width in (num_channels, CHANNELS, CHANNELS):
            layers += [nn.Conv1d(width, CHANNELS, KERNEL, padding=KERNEL // 2),
                       nn.BatchNorm1d(CHANNELS), nn.ReLU(), nn.Dropout(DROPOUT)]  # fmt: skip
        dense = [nn.Flatten(), nn.Linear(CHANNELS * num_times, DENSE), nn.ReLU(),
                 nn.Dropout(DROPOUT), nn.Linear(DENSE, num_outputs)]  # fmt: skip
        network = nn.Sequential(*layers, *dense)
        fit(
            network,
            lambda rows: loss(network(known[rows]), truth[rows]),
            len(known),
            num_steps=num_steps, batch_size=BATCH_SIZE, peak_lr=PEAK_LR,
        )  # fmt: skip
        output: npt.NDArray[np.float32] = run(network, asked).numpy()
    return output
