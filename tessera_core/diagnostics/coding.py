"""What int8 storage takes away from embeddings."""

from typing import Final

import numpy as np

from tessera_core.diagnostics.reading import Reading
from tessera_core.domain.embedding import Coding, quantise
from tessera_core.domain.geometry import (
    Values,
    mean_cosine,
    nearest,
    require_rows,
    share_in_common,
)
from tessera_core.pretrain.probe import single_blas_thread

NUM_NEIGHBOURS: Final = 10


def measure_coding(values_ND: Values, coding: Coding) -> Reading:
    """Return the error of int8 codes relative to the embeddings' spread, 0 (none) to about 1.

    Root mean squared error over the deviation from the mean embedding; 0.01 is what even
    dimensions lose, and above 0.05 one large common value eats the codes. Beside it
    ``cosine``, the mean cosine of centred embeddings before and after (1 is best), and
    ``neighbour_overlap``, the share of the 10 nearest neighbours that stay (0..1, 1 is best).

    Args:
        values_ND: Embeddings.
        coding: The model's rule.
    """
    wide_ND = require_rows(values_ND, "embeddings", least=2)
    centre = wide_ND.mean(axis=0)
    spread = float(((wide_ND - centre) ** 2).sum())
    if spread == 0:
        return Reading.missing("all embeddings are equal")
    coded_ND = quantise(values_ND.astype(np.float32), coding).dequantise().astype(np.float64)
    row = np.arange(len(wide_ND))
    num = min(NUM_NEIGHBOURS, len(row) - 1)
    with single_blas_thread():
        before, after = (
            nearest(values - centre, values - centre, num, apart_M=row, apart_N=row)
            for values in (wide_ND, coded_ND)
        )
    return Reading(
        value=float(np.sqrt(((coded_ND - wide_ND) ** 2).sum() / spread)),
        more={
            "cosine": mean_cosine(wide_ND - centre, coded_ND - centre),
            "neighbour_overlap": share_in_common(before, after),
        },
    )
