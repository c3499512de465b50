"""Which labelled fields choose among encoders, so that reports never look at them.

A score that chose the best of many flatters it. A quarter of the fields is therefore for choosing
alone, and the rest for reporting alone. Which ones follows from the label rasters and from nothing
else: all versions of a model are chosen by the same fields and reported on the same others.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.sampling import mix_bits
from tessera_core.records.labels import (
    CLASS_RASTER,
    GROUP_RASTER,
    MAX_PARCELS,
    UNLABELLED,
    Labels,
    read_raster,
)

FIELDS_PER_SELECTED: Final = 4
"""One field in so many chooses."""

MIN_FIELDS: Final = 16
"""A class with fewer fields gives none: neither half could be split into folds any more."""

Ids = npt.NDArray[np.int64]


def selection_fields(folders: list[Path]) -> Ids:
    """Return the ids of the fields that choose, ascending, numbered as ``read_labels`` does.

    Args:
        folders: Where label rasters are. A folder without both class and field raster gives none.
    """
    chosen = [np.empty(0, np.int64)]
    for number, folder in enumerate(folders):
        if (folder / CLASS_RASTER).is_file() and (folder / GROUP_RASTER).is_file():
            codes, parcels = read_raster(folder / CLASS_RASTER), read_raster(folder / GROUP_RASTER)
            if codes.shape == parcels.shape:
                chosen.append(_chosen_of(codes.ravel(), parcels.ravel() + number * MAX_PARCELS))
    return np.unique(np.concatenate(chosen))


def without_fields(labels: Labels, fields: Ids) -> Labels:
    """Return the labels as if some fields had no class; heights stay."""
    hidden = np.isin(labels.parcel, fields)
    return Labels(
        crop_type=np.where(hidden, UNLABELLED, labels.crop_type),
        parcel=np.where(hidden, 0, labels.parcel),
        canopy_height_m=labels.canopy_height_m,
    )


def _chosen_of(codes: Ids, parcels: Ids) -> Ids:
    """Return a quarter of each class's fields, those with the smallest hash of their id."""
    labelled = (codes != UNLABELLED) & (parcels % MAX_PARCELS > 0)
    fields, place = np.unique(parcels[labelled], return_inverse=True)
    classes, code = np.unique(codes[labelled], return_inverse=True)
    if not len(fields):
        return fields
    votes = np.zeros((len(fields), len(classes)), np.int64)
    np.add.at(votes, (place, code), 1)
    class_of_field = votes.argmax(axis=1)
    # As numbered in their own raster, so that a folder more elsewhere changes no choice here.
    order = np.argsort(mix_bits((fields % MAX_PARCELS).astype(np.uint64)), kind="stable")
    chosen = []
    for number in range(len(classes)):
        members = order[class_of_field[order] == number]
        if len(members) >= MIN_FIELDS:
            chosen.append(fields[members[: len(members) // FIELDS_PER_SELECTED]])
    return np.concatenate(chosen) if chosen else np.empty(0, np.int64)
