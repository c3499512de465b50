"""How evenly embeddings cover the sphere (Wang and Isola 2020)."""

from typing import Final

import numpy as np

from tessera_core.diagnostics.reading import Reading
from tessera_core.domain.geometry import CHUNK, Values, require_rows, unit_rows
from tessera_core.pretrain.probe import single_blas_thread

SHARPNESS: Final = 2.0
"""t of the Gaussian potential, as in the paper."""


def measure_uniformity(values_ND: Values) -> Reading:
    """Return the logarithm of the mean Gaussian potential of all pairs; lower is more even.

    ``log mean exp(-2 |x - y|^2)`` of the embeddings scaled to length 1, over distinct pairs:
    0 where all are equal, about -4 for independent directions in many dimensions, never below -8.
    Embeddings of few crops form clusters, so a useful one lies between. Rows are not centred: a
    common mean shows as a value near 0.
    """
    unit_ND = unit_rows(require_rows(values_ND, "embeddings", least=2))
    num, total = len(unit_ND), 0.0
    length_N = (unit_ND**2).sum(axis=1)
    with single_blas_thread():
        for start in range(0, num, CHUNK):
            part = slice(start, start + CHUNK)
            square = length_N[part, None] + length_N - 2 * (unit_ND[part] @ unit_ND.T)
            total += float(np.exp(-SHARPNESS * square.clip(min=0)).sum())
    # Each row's pair with itself has potential 1.
    return Reading(value=float(np.log((total - num) / (num * (num - 1)))))
