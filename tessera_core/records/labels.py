"""Ground truth: label rasters beside tiles, read at pixel centres."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.grid import is_utm
from tessera_core.errors import SceneError
from tessera_core.records.files import FileDigest, read_json
from tessera_core.records.outside import digest_source
from tessera_core.records.rasters import open_raster, require_readable

UNLABELLED: Final = 0
CLASS_RASTER: Final = "crop_type.tif"
GROUP_RASTER: Final = "parcel_id.tif"
HEIGHT_RASTER: Final = "canopy_height.tif"
RASTERS: Final = (
    CLASS_RASTER, GROUP_RASTER, HEIGHT_RASTER, "biomass.tif", "burn_date.tif", "land_cover.tif",
)  # fmt: skip
"""Any of them makes a folder one of labels; benchmarks may name others beside them."""

LEGEND_NAME: Final = "legend.json"
_CODE: Final = re.compile(r"-?[0-9]{1,9}")
MAX_PARCELS: Final = 10_000_000
"""Field ids of one raster lie below this."""

_WHAT: Final = "the label raster "
MAX_VALUE: Final = 1 << 53
"""Whole numbers up to it are exact as float64."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Ground truth of N d-pixels."""

    crop_type: npt.NDArray[np.int64]
    """(N,), class code, 0 = unlabelled."""

    parcel: npt.NDArray[np.int64]
    """(N,), field id, 0 = none; a field goes whole to one side of a split."""

    canopy_height_m: npt.NDArray[np.float64]
    """(N,), metres, NaN = unknown."""


def label_folders(root: Path, setting: str | None, source: str, path: str) -> list[Path]:
    """Return the folders that hold label rasters, most specific first.

    Args:
        root: Folder that settings are relative to.
        setting: ``evaluate.labels``; when given, the only place looked at.
        source: ``ingest.source``.
        path: ``ingest.path``.

    Raises:
        SceneError: The setting names a folder without any label raster.
    """
    if setting is not None:
        folder = root / setting
        if not _holds_labels(folder):
            raise SceneError(
                f"evaluate.labels names {folder}, which holds none of {', '.join(RASTERS)}; "
                "check the path or leave the setting out"
            )
        return [folder]
    if "://" in path:
        return []
    base = (root / path).parent if path.endswith(".json") else root / path
    if source == "stac":
        beside = [base / "labels"]
    else:
        beside = [base, *sorted(folder for folder in base.glob("*") if folder.is_dir())]
    return [folder for folder in beside if _holds_labels(folder)]


def label_sources(folders: list[Path], root: Path) -> tuple[FileDigest, ...]:
    """Return the digests of all label files, for receipts."""
    names = (*RASTERS, LEGEND_NAME)
    paths = [folder / name for folder in folders for name in names]
    return tuple(digest_source(path, root) for path in paths if path.is_file())


def read_legend(folders: list[Path], key: str = "crop_type") -> dict[int, str]:
    """Return class names by code from ``legend.json`` where there is one.

    Args:
        folders: Where to look; a later folder's name for a code wins.
        key: Which raster's names.

    Raises:
        RecordError: A legend is no JSON.
        SceneError: It is not of the form ``{"crop_type": {"3": "maize"}}``.
    """
    names: dict[int, str] = {}
    for folder in folders:
        path = folder / LEGEND_NAME
        if path.is_file():
            names.update(_class_names(path, key))
    return names


def read_labels(
    folders: list[Path],
    epsg: npt.NDArray[np.int32],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
) -> Labels:
    """Read the labels at pixel centres; unlabelled where no raster reaches.

    Args:
        folders: Where to look; the first raster that labels a pixel wins.
        epsg: (N,) UTM zone of each position.
        x: (N,) eastings, metres.
        y: (N,) northings, metres.
    """
    codes = read_label(folders, CLASS_RASTER, epsg, x, y)
    parcels = read_label(folders, GROUP_RASTER, epsg, x, y)
    return Labels(
        crop_type=np.nan_to_num(codes).astype(np.int64),
        parcel=np.nan_to_num(parcels).astype(np.int64),
        canopy_height_m=read_label(folders, HEIGHT_RASTER, epsg, x, y),
    )


def read_label(
    folders: list[Path],
    name: str,
    epsg: npt.NDArray[np.int32],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    empty: float = np.nan,
) -> npt.NDArray[np.float64]:
    """Return one raster's values at pixel centres, (N,), NaN where none reaches or says no data.

    In rasters of codes and ids 0 is kept as 0, but gives way to a later folder's value.

    Args:
        folders: Where to look; the first raster that labels a pixel wins.
        name: File name of the raster.
        epsg: (N,) UTM zone of each position.
        x: (N,) eastings, metres.
        y: (N,) northings, metres.
        empty: What "no data" inside a raster means; 0 where a raster marks only what happened.
    """
    found = np.full(len(x), np.nan)
    for number, folder in enumerate(folders):
        if not (folder / name).is_file():
            continue
        sampled = _sample(folder / name, epsg, x, y, empty)
        if name == GROUP_RASTER:
            # Field ids are only unique within one raster.
            sampled = np.where(sampled > 0, sampled + number * MAX_PARCELS, sampled)
        is_open = np.isnan(found) | ((found == UNLABELLED) & ~np.isnan(sampled))
        found = np.where(is_open, sampled, found)
    return found


def _class_names(path: Path, key: str) -> dict[int, str]:
    """Return what one legend says of a raster's codes."""
    stored = read_json(path)
    names = stored.get(key, {}) if isinstance(stored, dict) else None
    if not isinstance(names, dict) or not all(
        _CODE.fullmatch(code) and isinstance(name, str) for code, name in names.items()
    ):
        raise SceneError(
            f"{path}: {key} is not a mapping from class codes to names, "
            'expected as in {"crop_type": {"3": "maize"}}'
        )
    return {int(code): name for code, name in names.items()}


def _holds_labels(folder: Path) -> bool:
    return any((folder / name).is_file() for name in RASTERS)


def read_raster(path: Path) -> npt.NDArray[np.int64]:
    """Return a raster of codes or ids whole, (row, column); 0 where it says no data.

    Raises:
        SceneError: It cannot be read.
    """
    with open_raster(path, _WHAT) as raster:
        require_readable(raster.shape, path)
        values = raster.read(1, masked=True).filled(0)
    _require_exact(values, path)
    whole: npt.NDArray[np.int64] = np.nan_to_num(values).astype(np.int64)
    return whole


def raster_places(
    path: Path, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64]
) -> tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the EPSG code of a raster, and easting and northing (N,) of pixel centres in it.

    Raises:
        SceneError: It cannot be read or is not in UTM.
    """
    with open_raster(path, _WHAT) as raster:
        code, at = _utm_code(raster.crs, path), raster.transform
    east, north = column + 0.5, row + 0.5
    x, y = at.a * east + at.b * north + at.c, at.d * east + at.e * north + at.f
    return code, x, y


def _sample(
    path: Path,
    epsg: npt.NDArray[np.int32],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    empty: float,
) -> npt.NDArray[np.float64]:
    """Return the raster's values at positions (nearest), NaN outside, ``empty`` at nodata."""
    sampled = np.full(len(x), np.nan)
    with open_raster(path, _WHAT) as raster:
        code, nodata = _utm_code(raster.crs, path), raster.nodata
        if raster.transform.is_degenerate:
            raise SceneError(f"{_WHAT}{path} has pixels without an area; expected metres")
        inverse = ~raster.transform
        with np.errstate(over="ignore", invalid="ignore"):  # a place of its own making
            column = np.floor(inverse.a * x + inverse.b * y + inverse.c)
            row = np.floor(inverse.d * x + inverse.e * y + inverse.f)
        # Other zones are other places: a region may span several.
        inside = (epsg == code) & (row >= 0) & (row < raster.height)
        inside &= (column >= 0) & (column < raster.width)
        if inside.any():
            place = row[inside].astype(np.int64), column[inside].astype(np.int64)
            sampled[inside] = _values_at(raster, *place, path)
    unknown = inside & np.isnan(sampled)
    if nodata is not None:
        unknown |= inside & (sampled == nodata)
    sampled[unknown] = empty
    _require_exact(sampled, path)
    return sampled


def _values_at(
    raster: Any, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], path: Path
) -> npt.NDArray[np.float64]:
    """Return the values of pixels (N,), of which at least one is asked, all inside the raster."""
    top, left = int(row.min()), int(column.min())
    bottom, right = int(row.max()) + 1, int(column.max()) + 1
    require_readable((bottom - top, right - left), path)
    values = raster.read(1, window=((top, bottom), (left, right))).astype(np.float64)
    found: npt.NDArray[np.float64] = values[row - top, column - left]
    return found


def _utm_code(crs: Any, path: Path) -> int:
    """Return the EPSG code of a label raster's UTM zone."""
    if crs is None:
        raise SceneError(f"{_WHAT}{path} has no coordinate system; expected UTM")
    code = crs.to_epsg()
    if code is None or not is_utm(code):
        raise SceneError(
            f"{_WHAT}{path} is in {f'EPSG:{code}' if code else 'a system without EPSG code'}, "
            "where no pixel of a tile lies; expected UTM, as in EPSG:32631; reproject it"
        )
    return int(code)


def _require_exact(values: npt.NDArray[Any], path: Path) -> None:
    """Refuse what cannot be a code, an id or a measure: infinity, or more digits than are kept."""
    if (np.abs(values) > MAX_VALUE).any():
        raise SceneError(
            f"{_WHAT}{path} holds values beyond {MAX_VALUE:,} or infinity; expected codes, ids or "
            "metres, and what means no data declared as such"
        )


def class_names(codes: Sequence[int], legend: Mapping[int, str]) -> dict[int, str]:
    """Return a distinct name for each code: the legend's, else the number."""
    plain = {code: legend.get(code, str(code)) for code in codes}
    names = list(plain.values())
    return {
        code: name if names.count(name) == 1 else f"{name} ({code})" for code, name in plain.items()
    }
