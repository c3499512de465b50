"""What really lies on the ground, as label rasters of 10 m."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.simulate.crops import CROPS
from tessera_core.simulate.landscape import FINE, NO_CROP, LandCover, Landscape
from tessera_core.simulate.noise import FloatArray

NOTHING: Final = 0
"""No crop field, no parcel, no fire."""


def truth_rasters(landscape: Landscape) -> dict[str, npt.NDArray[Any]]:
    """Return the label rasters by name; each (y, x) of 10 m.

    ``crop_type`` uint16 code and ``parcel_id`` int32, 0 = none; ``land_cover`` uint8;
    ``canopy_height`` in metres and ``biomass`` in Mg/ha, float32, NaN outside forest;
    ``burn_date`` uint16 day of year, 0 = never. A pixel takes the kind that fills most of it,
    so labels at borders stand on mixed pixels, as labels from field polygons do.
    """
    parcel, cover = _cells(landscape.parcel), _cells(landscape.cover)
    # Parcel and cover together, so that both come from the same cells.
    kind = _most_common(parcel.astype(np.int64) * (int(max(LandCover)) + 1) + cover)
    main_parcel, main_cover = np.divmod(kind, int(max(LandCover)) + 1)

    codes = np.array([*(crop.code for crop in CROPS), NOTHING], dtype=np.uint16)
    is_field = main_cover == LandCover.CROPLAND
    owned = main_cover == landscape.parcel_cover[main_parcel]
    crop = np.where(is_field, landscape.crop[main_parcel], NO_CROP)
    is_forest = main_cover == LandCover.FOREST
    burn = _cells(landscape.burn_day)
    # A burnt hedge makes no burnt field.
    burnt = ((burn > 0).sum(axis=-1) * 2 >= burn.shape[-1]) & ~is_field
    return {
        "crop_type": codes[crop],
        "parcel_id": np.where(owned, main_parcel + 1, NOTHING).astype(np.int32),
        "land_cover": main_cover.astype(np.uint8),
        "canopy_height": _forest_mean(landscape.canopy_height_m, is_forest),
        "biomass": _forest_mean(landscape.biomass_mg_ha, is_forest),
        "burn_date": np.where(burnt, burn.max(axis=-1), NOTHING).astype(np.uint16),
    }


def legend() -> dict[str, dict[str, str]]:
    """Return the names of the codes, by raster."""
    return {
        "crop_type": {str(crop.code): crop.name for crop in CROPS},
        "land_cover": {str(int(kind)): kind.name.lower().replace("_", " ") for kind in LandCover},
    }


def _cells(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (y, x, cell): the 5 m cells of each 10 m pixel."""
    rows, columns = values.shape
    blocks = values.reshape(rows // FINE, FINE, columns // FINE, FINE).swapaxes(1, 2)
    return blocks.reshape(rows // FINE, columns // FINE, FINE * FINE)


def _most_common(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the most common value along the last axis; the smallest of several."""
    ordered = np.sort(cells, axis=-1)
    counts = (ordered[..., :, None] == ordered[..., None, :]).sum(axis=-1)
    winner = counts.argmax(axis=-1)[..., None]
    common: npt.NDArray[np.int64] = np.take_along_axis(ordered, winner, axis=-1)[..., 0]
    return common


def _forest_mean(values: FloatArray, is_forest: npt.NDArray[np.bool_]) -> FloatArray:
    cells = _cells(values)
    num_trees = np.maximum((cells > 0).sum(axis=-1), 1)
    mean = cells.sum(axis=-1, dtype=np.float32) / num_trees
    return np.where(is_forest, mean, np.nan).astype(np.float32)
