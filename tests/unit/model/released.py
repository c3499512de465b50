"""The reference's tiles and checkpoints (../shared/data/parity) as tests need them."""

import numpy as np

from tessera_core.domain.dpixel import DPixels, Series, radar_series
from tessera_core.model.artifact import ModelArtifact
from tessera_core.model.checkpoint import read_checkpoint
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES

STATED = {"v1_0_early": {"num_heads": 4}, "v1_0_early_noprefix": {"num_heads": 4}}
"""What neither the tensors nor the file of a small checkpoint tells: the release has 8 heads."""


def released_model(parity, name: str, family: Family) -> ModelArtifact:
    """A stored checkpoint as a model, with the norms of a family."""
    found = read_checkpoint(parity / f"{name}.pt", family, STATED.get(name))
    return ModelArtifact(
        encoder=found.encoder, config=found.config, norms=RELEASES[family].norms, digest=""
    )


def every_pixel(days, height, width):
    """Days of (T,) dates and offsets of height x width d-pixels that share them."""
    num_pixels = height * width
    offsets = np.arange(num_pixels + 1, dtype=np.int64) * len(days)
    return np.tile(days.astype(np.uint16), num_pixels), offsets


def by_pixel(cube):
    """(time, row, column, ...) as one (row x column x time, ...) array, pixel by pixel."""
    return np.moveaxis(cube, 0, 2).reshape(-1, *cube.shape[3:])


def tile_arrays(tiles, name):
    """The arrays of a stored tile; ``noasc`` and ``nosar`` are ``mixed`` without radar."""
    stored = "dense" if name == "dense" else "mixed"
    arrays = {
        part: tiles[f"{stored}.{part}"]
        for part in (
            "bands", "masks", "doys", "sar_ascending", "sar_ascending_doy", "sar_descending",
            "sar_descending_doy",
        )
    }  # fmt: skip
    silent = {"noasc": ("ascending",), "nosar": ("ascending", "descending")}.get(name, ())
    for orbit in silent:
        for part in (f"sar_{orbit}", f"sar_{orbit}_doy"):
            arrays[part] = arrays[part][:0]
    return arrays


def tile_pixels(tiles, name):
    """All d-pixels of a stored tile."""
    arrays = tile_arrays(tiles, name)
    bands = arrays["bands"]
    days, offsets = every_pixel(arrays["doys"], *bands.shape[1:3])
    radar = {}
    for orbit in ("ascending", "descending"):
        cube, dates = arrays[f"sar_{orbit}"], arrays[f"sar_{orbit}_doy"]
        radar[orbit] = radar_series(by_pixel(cube), *every_pixel(dates, *cube.shape[1:3]))
    optical = Series(
        values=by_pixel(bands),
        day_of_year=days,
        offsets=offsets,
        valid=by_pixel(arrays["masks"]) == 1,
    )
    return DPixels(optical=optical, **radar)
