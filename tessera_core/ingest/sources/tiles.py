"""TESSERA d-pixel directories (method.md 1.2): arrays on disk, one folder per tile and year."""

import reprlib
import textwrap
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import scl_from_mask
from tessera_core.domain.tile import OpticalSeries, RadarSeries, TileSeries
from tessera_core.errors import InputError, SceneError
from tessera_core.ingest.config import FIRST_YEAR, LAST_YEAR
from tessera_core.ingest.sources import TileRef, exclusion_remark
from tessera_core.ingest.tiling import check_pixel_size
from tessera_core.records.files import FileDigest, read_json
from tessera_core.records.outside import digest_source, plain_path
from tessera_core.records.samples import Scene

SHOWN: Final = 5
COLLECTION: Final = "tessera-tile"
BANDS: Final = "bands.npy"
DOCUMENT: Final = "tile.json"
OPTIONAL: Final = ("scl.npy", "roi.tiff", DOCUMENT)
REQUIRED: Final = (
    BANDS, "masks.npy", "doys.npy",
    "sar_ascending.npy", "sar_ascending_doy.npy",
    "sar_descending.npy", "sar_descending_doy.npy",
)  # fmt: skip


class TileDirectories:
    """One tile directory, or a folder of them."""

    def __init__(
        self, base: Path, root: Path, year: int | None = None, exclude: tuple[str, ...] = ()
    ) -> None:
        """Look for tiles.

        Args:
            base: A tile directory, or a folder of them.
            root: Folder that digests name files from.
            year: The one to read, also of directories that do not say theirs; None = all.
            exclude: Names of directories that are not read.

        Raises:
            SceneError: There is no tile, none is left, or the only one is of another year.
        """
        self._root = root
        self._year = year
        if not base.exists():
            raise SceneError(
                f"{plain_path(base)} holds no tile: there is no such folder; set ingest.path to a "
                "TESSERA d-pixel directory"
            )
        if (base / BANDS).is_file():
            found = {base.resolve().name: base}
        else:
            found = {f.name: f for f in sorted(base.glob("*/")) if (f / BANDS).is_file()}
        if not found:
            raise SceneError(
                f"{base} holds no tile: neither it nor a folder in it has {BANDS}; "
                "set ingest.path to a TESSERA d-pixel directory"
            )
        self._unmatched = tuple(name for name in exclude if name not in found)
        kept = {name: f for name, f in found.items() if name not in exclude}
        if not kept:
            raise SceneError(f"ingest.exclude leaves no tile of {base}; take a name out of it")
        others = {} if year is None else _of_other_years(kept, year)
        self._other = {name: kept[name] for name in others}
        self._folders = {name: f for name, f in kept.items() if name not in others}
        if not self._folders:
            years = ", ".join(map(str, sorted(set(others.values()))))
            raise SceneError(
                f"ingest.year is {year}, but {DOCUMENT} of {_some(others)} in {base} says {years}; "
                "set ingest.year to that, or to null for every year that is named"
            )

    def digests(self) -> tuple[FileDigest, ...]:
        """Return the digest of every array file, and of what says that a tile is not read."""
        own = [folder / n for folder in self._folders.values() for n in (*REQUIRED, *OPTIONAL)]
        other = [folder / DOCUMENT for folder in self._other.values()]
        return tuple(digest_source(path, self._root) for path in own + other if path.is_file())

    def tiles(self) -> list[TileRef]:
        """Return one tile per directory."""
        return [
            TileRef(name=name, year=self._tile_year(folder), grid=_read_grid(folder))
            for name, folder in self._folders.items()
        ]

    def remarks(self) -> list[str]:
        """Return what of the settings had no effect, and which tiles are of other years."""
        lines = [exclusion_remark(name) for name in self._unmatched]
        if self._other:
            lines.append(
                f"{len(self._other)} of {len(self._other) + len(self._folders)} tiles are not of "
                f"ingest.year {self._year} and are left out: {_some(self._other)}"
            )
        return lines

    def read(self, ref: TileRef) -> tuple[TileSeries, list[Scene]]:
        """Read and check all arrays of one directory.

        Raises:
            SceneError: A file is missing, unreadable, or of the wrong shape, type or range.
        """
        folder = self._folders[ref.name]
        optical, ascending, descending = read_series(folder)
        try:
            tile = TileSeries(
                name=ref.name,
                year=ref.year,
                grid=ref.grid,
                optical=optical,
                ascending=ascending,
                descending=descending,
                inside=read_inside(folder, (ref.grid.height, ref.grid.width)),
            )
        except InputError as error:
            raise SceneError(f"{folder}: {error}") from error
        names = [name for name in (*REQUIRED, *OPTIONAL) if (folder / name).is_file()]
        return tile, [_scene(ref.name, digest_source(folder / name, self._root)) for name in names]

    def _tile_year(self, folder: Path) -> int:
        year = _stated_year(folder) or self._year
        if year is None:
            raise SceneError(
                f"{folder} does not say its year: no {DOCUMENT} with a year; set ingest.year"
            )
        return year


def read_series(folder: Path) -> tuple[OpticalSeries, RadarSeries, RadarSeries]:
    """Return the S2, S1 ascending and S1 descending observations of one directory.

    Raises:
        SceneError: A file is missing, unreadable, or of the wrong shape, type or range.
    """
    arrays = {name: _load(folder / name) for name in REQUIRED}
    if 0 in arrays[BANDS].shape[1:3]:
        raise SceneError(f"{folder}: {BANDS} has shape {arrays[BANDS].shape}, which is no pixel")
    try:
        return (
            _optical(folder, arrays),
            _radar(arrays, "ascending"),
            _radar(arrays, "descending"),
        )
    except InputError as error:
        raise SceneError(f"{folder}: {error}") from error


def _optical(folder: Path, arrays: dict[str, npt.NDArray[Any]]) -> OpticalSeries:
    masks, bands = arrays["masks.npy"], arrays[BANDS]
    if masks.dtype != np.uint8 or masks.shape != bands.shape[:3]:
        raise SceneError(
            f"masks.npy has shape {masks.shape} and type {masks.dtype}, but bands.npy of shape "
            f"{bands.shape} needs {bands.shape[:3]} of uint8"
        )
    if masks.size and int(masks.max()) > 1:
        raise SceneError(f"masks.npy goes up to {int(masks.max())}, expected 0 or 1 (1 = usable)")
    scl = _load(folder / "scl.npy") if (folder / "scl.npy").is_file() else None
    if scl is not None and scl.shape != masks.shape:
        raise SceneError(f"scl.npy has shape {scl.shape}, but masks.npy has {masks.shape}")
    return OpticalSeries(
        reflectance=bands,
        scl=scl_from_mask(masks, scl),
        day_of_year=_days(arrays["doys.npy"], "doys.npy"),
    )


def _radar(arrays: dict[str, npt.NDArray[Any]], orbit: str) -> RadarSeries:
    return RadarSeries(
        backscatter_scaled_db=arrays[f"sar_{orbit}.npy"],
        day_of_year=_days(arrays[f"sar_{orbit}_doy.npy"], f"sar_{orbit}_doy.npy"),
    )


def _days(stored: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint16]:
    """Return days as uint16; stackers wrote uint16, int16 and int32 (method.md 12)."""
    if stored.dtype.kind not in "iu":
        raise SceneError(f"{name} is {stored.dtype}, expected integers 1..366")
    if stored.size and (int(stored.min()) < 0 or int(stored.max()) > np.iinfo(np.uint16).max):
        raise SceneError(f"{name} spans {int(stored.min())}..{int(stored.max())}, expected 1..366")
    return stored.astype(np.uint16)


def _load(path: Path) -> npt.NDArray[Any]:
    """Read one array without unpickling; NaN is refused here, where the file is known."""
    if not path.is_file():
        raise SceneError(
            f"{path} is missing; a tile directory needs {', '.join(REQUIRED)} "
            "(an orbit without passes is an array of length 0)"
        )
    array = _open(path)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise SceneError(
            f"{path} is {array.dtype} with {int(np.isnan(array).sum())} NaN; stored arrays are "
            "integers, where 0 means no data"
        )
    return array


def _open(path: Path, mmap_mode: Literal["r"] | None = None) -> npt.NDArray[Any]:
    """Return an array, or with ``"r"`` only the promise of one."""
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, OverflowError, TokenError) as error:
        raise SceneError(f"cannot read {path}: {error}; is the file truncated?") from error
    return array


def _stated_year(folder: Path) -> int | None:
    """Return the year that a directory says it is of, or None."""
    year = _document(folder).get("year")
    is_year = isinstance(year, int) and not isinstance(year, bool)
    if year is not None and not (is_year and FIRST_YEAR <= year <= LAST_YEAR):
        raise SceneError(
            f"{folder / DOCUMENT}: year is {reprlib.repr(year)}, expected a number of {FIRST_YEAR} "
            f"to {LAST_YEAR}"
        )
    return year


def _of_other_years(folders: dict[str, Path], year: int) -> dict[str, int]:
    """Return the directories that say another year, with that year."""
    stated = {name: _stated_year(folder) for name, folder in folders.items()}
    return {name: found for name, found in stated.items() if found not in (None, year)}


def _some(names: Iterable[str]) -> str:
    """Return the first names of many."""
    shown = list(names)
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" * (len(shown) > SHOWN))


def _document(folder: Path) -> dict[str, Any]:
    """Return the content of ``tile.json``, empty when there is none."""
    path = folder / DOCUMENT
    stored = read_json(path) if path.is_file() else {}
    if not isinstance(stored, dict):
        raise SceneError(f"{path} holds {type(stored).__name__}, expected year, crs and transform")
    return stored


def _read_grid(folder: Path) -> TileGrid:
    """Return the grid from ``roi.tiff``, else from ``tile.json``."""
    bands = _open(folder / BANDS, mmap_mode="r")
    if bands.ndim != 4:
        raise SceneError(
            f"{folder / BANDS} has shape {bands.shape}, expected (time, row, column, 10)"
        )
    height, width = bands.shape[1:3]
    found = _roi_georeference(folder) or _json_georeference(folder)
    if found is None:
        raise SceneError(
            f"{folder} does not say where it lies: expected a coordinate system in roi.tiff, "
            "or crs and transform in tile.json"
        )
    epsg, west, north = found
    try:
        return TileGrid(epsg=epsg, west=west, north=north, width=width, height=height)
    except SceneError as error:
        raise SceneError(f"{folder}: {error}") from error


def _roi_georeference(folder: Path) -> tuple[int, float, float] | None:
    path = folder / "roi.tiff"
    if not path.is_file():
        return None
    from tessera_core.ingest.rasters import georeference

    return georeference(path)


def _json_georeference(folder: Path) -> tuple[int, float, float] | None:
    path, stored = folder / DOCUMENT, _document(folder)
    if "crs" not in stored or "transform" not in stored:
        return None
    try:
        epsg = int(str(stored["crs"]).upper().removeprefix("EPSG:"))
        width, _, west, _, height, north = (float(value) for value in stored["transform"][:6])
    except (ValueError, TypeError, OverflowError, LookupError) as error:
        raise SceneError(
            f"{path}: crs {reprlib.repr(stored['crs'])} or transform is not of the form EPSG:32631 "
            f"and six numbers ({textwrap.shorten(str(error), 200)})"
        ) from error
    check_pixel_size(path, width, height)
    return epsg, west, north


def read_inside(folder: Path, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the region of interest (row, column); edge patches are padded beyond the raster.

    Raises:
        SceneError: The region is larger than the arrays both ways, as it is when a stacker took
            every tenth pixel only (method.md 12).
    """
    path = folder / "roi.tiff"
    if not path.is_file():
        return np.ones(shape, np.bool_)
    from tessera_core.ingest.rasters import read_plain

    roi = read_plain(path)
    if roi.shape[0] > shape[0] and roi.shape[1] > shape[1]:
        raise SceneError(
            f"{path} has {roi.shape} pixels, but the arrays beside it have {shape}: were they "
            "decimated? Stack them again at rate 1"
        )
    inside = np.zeros(shape, np.bool_)
    rows, columns = min(shape[0], roi.shape[0]), min(shape[1], roi.shape[1])
    inside[:rows, :columns] = roi[:rows, :columns] == 1
    return inside


def _scene(tile: str, digest: FileDigest) -> Scene:
    return Scene(
        scene_id=tile,
        collection=COLLECTION,
        acquired="",
        orbit="",
        baseline="",
        offset_removed=False,
        asset=Path(digest.path).name,
        href=digest.path,
        sha256=digest.sha256,
    )
