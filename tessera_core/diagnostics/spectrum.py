"""How many directions embeddings use, and how evenly."""

from typing import Final

import numpy as np

from tessera_core.diagnostics.reading import Reading
from tessera_core.domain.geometry import Floats, Values, require_rows
from tessera_core.pretrain.probe import single_blas_thread

SHARE: Final = 0.9
"""Share of the variance that ``num_directions`` asks for."""

MIN_ROWS: Final = 2


def singular_spectrum(values_ND: Values) -> Floats:
    """Return the deviation along each principal direction, descending, (min(N, D),).

    The singular values of the centred embeddings over the root of N: their squares add up to the
    total variance. A good spectrum falls slowly; one that drops to 0 early is a partial collapse.
    """
    centred_ND = _centred(values_ND)
    with single_blas_thread():
        singular = np.linalg.svd(centred_ND, compute_uv=False)
    spectrum: Floats = np.asarray(singular / np.sqrt(len(centred_ND)), np.float64)
    return spectrum


def measure_rank(values_ND: Values) -> Reading:
    """Return RankMe, 0 (one direction) to 1 (all directions alike); more is less collapsed.

    As training reports it: uncentred, so a large common mean counts as one direction. A higher
    rank is not a better embedding (docs/results.md): look at it when it *falls*.
    ``effective_rank`` is the exponential of the same entropy on the centred values, in directions;
    ``num_directions`` is how many hold 90 % of the variance; ``spectrum`` is
    ``singular_spectrum``.
    """
    import torch

    from tessera_core.model.spectrum import rank_me

    wide_ND = require_rows(values_ND, "embeddings", least=MIN_ROWS)
    spectrum = singular_spectrum(wide_ND)
    total = spectrum.sum()
    if total == 0:
        return Reading(
            value=0.0, more={"effective_rank": 1.0, "num_directions": 0, "spectrum": [0.0]}
        )
    share = spectrum[spectrum > 0] / total
    variance = np.cumsum(spectrum**2) / (spectrum**2).sum()
    with single_blas_thread():
        rank = rank_me(torch.from_numpy(wide_ND))
    return Reading(
        # A collapsed batch comes out a millionth below 0.
        value=max(rank, 0.0),
        more={
            "effective_rank": float(np.exp(-(share * np.log(share)).sum())),
            "num_directions": int(np.searchsorted(variance, SHARE) + 1),
            "spectrum": spectrum.tolist(),
        },
    )


def _centred(values_ND: Values) -> Floats:
    wide_ND = require_rows(values_ND, "embeddings", least=MIN_ROWS)
    centred_ND: Floats = wide_ND - wide_ND.mean(axis=0)
    return centred_ND
