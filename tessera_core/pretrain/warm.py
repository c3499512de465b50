"""Compile the loops of the feed and of the view sampler, which numba keeps for later processes.

``make setup`` runs it: seconds of the first training then.
"""

import numpy as np
import torch

from tessera_core.domain.dpixel import DPixels
from tessera_core.feed.from_arrays import gather
from tessera_core.model.canaries import made_up_canaries
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.views import draw_views

LENGTHS = (4, 4)


def warm() -> None:
    """Gather a few made-up d-pixels and draw two views of each."""
    release = RELEASES[Family.V2_STUDENT]
    pixels = made_up_canaries(release.norms, release.sampling)
    rows = np.arange(len(pixels), dtype=np.int64)
    draw_views(
        RawPixels.from_padded(gather(_as_mapped(pixels), rows)), release.norms,
        position_B=torch.from_numpy(rows), key=0, lengths=LENGTHS, is_disjoint=False,
        modality_dropout=0.1,
    )  # fmt: skip


def _as_mapped(pixels: DPixels) -> DPixels:
    """Return d-pixels that cannot be written to, as those of mapped shards: numba tells them."""
    for series in (pixels.optical, pixels.ascending, pixels.descending):
        for array in (series.values, series.day_of_year, series.valid, series.offsets):
            array.flags.writeable = False
    return pixels


if __name__ == "__main__":
    warm()
