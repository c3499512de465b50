"""Samples, tile directories and exports, opened from where they lie."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.domain.tile import TileSeries
from tessera_core.errors import InputError, RecordError, SceneError
from tessera_core.ingest.sources.tiles import BANDS, TileDirectories
from tessera_core.records.files import read_json
from tessera_core.records.samples import SAMPLES_NAME, TileSamples, list_tiles, read_tile

if TYPE_CHECKING:
    import xarray

STORE_NAME = "embeddings.zarr"


def open_samples(path: str | Path) -> list[TileSamples]:
    """Read samples into memory, about 3 KB for each d-pixel.

    Args:
        path: A sample set (``data/samples``), or the folder of one tile and year in it.

    Returns:
        One per tile and year, in name order. All observations are there, clouded ones too.

    Raises:
        RecordError: There are none, or a file is unreadable or has other columns.
    """
    folder = Path(path)
    partitions = [folder] if (folder / SAMPLES_NAME).is_file() else list_tiles(folder)
    if not partitions:
        raise RecordError(
            f"{folder} holds no samples, expected {SAMPLES_NAME} in it or in tile=NAME/window=YEAR "
            "below it; `tessera ingest` writes them"
        )
    return [read_tile(each) for each in partitions]


def open_tile(folder: str | Path, *, year: int | None = None) -> TileSeries:
    """Read a TESSERA tile directory: ``bands.npy``, ``masks.npy`` and five more arrays.

    Args:
        folder: The directory.
        year: Calendar year, where no ``tile.json`` says it.

    Returns:
        The tile: reflectance x 10000 as (time, row, column, band), Sentinel-1 as scaled dB.

    Raises:
        SceneError: An array is missing, unreadable, or of the wrong shape, type or range; or
            nothing says where and when the tile is.
    """
    base = Path(folder)
    if not (base / BANDS).is_file():
        raise SceneError(f"{base} is no tile directory: there is no {BANDS} in it")
    source = TileDirectories(base, base.resolve().parent, year)
    (ref,) = source.tiles()
    return source.read(ref)[0]


def open_export(path: str | Path, *, zone: str | None = None) -> "xarray.Dataset":
    """Open one UTM zone of an export as xarray, without reading its pixels yet.

    Args:
        path: Folder of the export, or its ``embeddings.zarr``; ours or another's ``geoemb`` store.
        zone: Group of the zone, as ``utm31``; may be left out where there is one.

    Returns:
        ``embeddings`` int8 (time, band, y, x) and ``scales`` float32 (time, y, x); a value is their
        product. A scale of +inf (or NaN, in other stores) says that there is no vector. Times are
        years, y and x metres of ``attrs["proj:code"]``.

    Raises:
        RecordError: There is no store.
        InputError: There are several zones and none is named, or not this one, or no xarray.
    """
    try:
        import xarray
    except ModuleNotFoundError as error:
        raise InputError(
            "an export opens as xarray, which is not installed; "
            "`pip install 'tessera-platform[xarray]'`"
        ) from error
    folder = Path(path)
    store = folder / STORE_NAME if (folder / STORE_NAME).is_dir() else folder
    if not (store / "zarr.json").is_file():
        raise RecordError(f"{folder} is no export: it has no {STORE_NAME} and is no Zarr v3 store")
    zones = sorted(each.parent.name for each in store.glob("utm*/zarr.json"))
    chosen = zones[0] if zone is None and len(zones) == 1 else zone
    if chosen not in zones:
        raise InputError(f"{store} has zones {', '.join(zones) or 'none'}, got {zone}; name one")
    dataset = xarray.open_zarr(
        store, group=chosen, chunks=None, consolidated=False, mask_and_scale=False, decode_cf=False
    )
    attributes: dict[str, Any] = read_json(store / "zarr.json").get("attributes", {})
    described: xarray.Dataset = dataset.assign_attrs({**attributes, **dataset.attrs})
    return described
