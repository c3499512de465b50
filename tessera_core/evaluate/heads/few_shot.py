"""Placeholder for the few-shot head: class means in features whitened within fields."""

from typing import Any

import numpy as np
import numpy.typing as npt


def predict_few_shot(
    pool: npt.NDArray[np.floating[Any]],
    classes: npt.NDArray[np.int64],
    labelled: npt.NDArray[np.int64],
    test: npt.NDArray[np.floating[Any]],
    *,
    pool_groups: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return classes of test rows."""
    codes, number = np.unique(classes, return_inverse=True)
    values = pool.astype(np.float64)
    mean = values.mean(axis=0)
    spread = np.cov((values - mean).T) + 1e-3 * np.eye(values.shape[1])
    centres = np.stack([values[labelled][number == one].mean(axis=0) for one in range(len(codes))])
    solve = np.linalg.solve(spread, (centres - mean).T)
    offset = 0.5 * np.einsum("cd,dc->c", centres - mean, solve)
    predicted: npt.NDArray[np.int64] = codes[((test - mean) @ solve - offset).argmax(axis=1)]
    return predicted
