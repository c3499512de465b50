"""The ``geoemb:`` Zarr v3 store: one group per UTM zone, a time axis, sharded (interop.md 2).

Scales say why there is no vector: +inf where nothing was written, NaN would be water. We have
no water mask, so every pixel without an embedding is +inf, inside tiles too.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr
from tqdm import tqdm
from zarr.codecs import BloscCodec

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.errors import RecordError
from tessera_core.export.config import ExportConfig
from tessera_core.export.tiles import open_array, tile_files
from tessera_core.export.zones import PlacedTile, Zone
from tessera_core.records.files import read_json, write_json

STORE_NAME: Final = "embeddings.zarr"
METADATA_NAME: Final = "zarr.json"
CODES: Final = "embeddings"
SCALES: Final = "scales"
NO_DATA_SCALE: Final = np.inf
DIGEST_ATTRIBUTE: Final = "tessera:model_digest"
"""Root attribute that says whose embeddings a store holds."""

COMPRESSION_LEVEL: Final = 3
"""Blosc zstd level of upstream's stores."""

GEOEMB_CONVENTION: Final = {
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    "schema_url": "https://raw.githubusercontent.com/geo-embeddings/"
    "embeddings-zarr-convention/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md",
}
PROJ_CONVENTION: Final = {
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "schema_url": "https://raw.githubusercontent.com/zarr-experimental/"
    "geo-proj/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-experimental/geo-proj/blob/v1/README.md",
}
SPATIAL_CONVENTION: Final = {
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial:",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/"
    "spatial/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
}


def root_attributes(
    *, model: str, dimensions: int, source_data: Sequence[str], build_version: str
) -> dict[str, Any]:
    """Return the ``geoemb:`` attributes of the root group.

    Args:
        model: URI of the model version.
        dimensions: Values of one embedding.
        source_data: URIs of the scenes' collections, at least one.
        build_version: Version of this software.
    """
    return {
        "zarr_conventions": [GEOEMB_CONVENTION],
        "geoemb:type": "pixel",
        "geoemb:dimensions": dimensions,
        "geoemb:model": model,
        "geoemb:source_data": list(source_data),
        "geoemb:data_type": "int8",
        "geoemb:gsd": float(TILE_RESOLUTION_M),
        "geoemb:spatial_layout": "utm_zones",
        "geoemb:build_version": build_version,
        "geoemb:quantization": {
            "method": "per_pixel_scale",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "scale": {"type": "array", "array_name": SCALES, "nodata": "+inf"},
        },
    }


def zone_attributes(zone: Zone) -> dict[str, Any]:
    """Return the ``proj:`` and ``spatial:`` attributes of a zone's group."""
    return {
        "zarr_conventions": [PROJ_CONVENTION, SPATIAL_CONVENTION],
        "proj:code": f"EPSG:{zone.epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": zone.transform,
        "spatial:shape": [zone.height, zone.width],
        "spatial:bbox": zone.bounds,
        "spatial:registration": "pixel",
    }


def write_store(
    export: Path,
    zones: Sequence[Zone],
    years: Sequence[int],
    settings: ExportConfig,
    attributes: Mapping[str, Any],
) -> None:
    """Write the store from the export's NPY tiles, one shard in memory at a time.

    Args:
        export: Folder of the export; holds ``npy`` and gets ``embeddings.zarr``.
        zones: Grids of all zones.
        years: The time axis, the same for every zone: clients take it from the first one.
        settings: Chunk and shard size.
        attributes: Attributes of the root group.

    Raises:
        RecordError: There is a store already, of this model or another.
    """
    store = export / STORE_NAME
    require_no_store(store, str(attributes.get(DIGEST_ATTRIBUTE, "")))
    dimensions = int(attributes["geoemb:dimensions"])
    root = zarr.create_group(store, zarr_format=3, attributes=dict(attributes))
    for zone in zones:
        group = root.create_group(zone.group, attributes=zone_attributes(zone))
        _create_arrays(group, zone, years, dimensions, settings)
        for time, year in enumerate(years):
            _fill(group, export, zone.of_year(year), time, settings.shard_size, zone.group)
    consolidate(store)


def require_no_store(store: Path, digest: str) -> None:
    """Refuse to write into a store that exists; a store is written once, by one model.

    Args:
        store: The store.
        digest: Digest of the model whose embeddings were to go there.

    Raises:
        RecordError: There is one; the message says whose.
    """
    if not store.exists():
        return
    try:
        found = read_json(store / METADATA_NAME)["attributes"][DIGEST_ATTRIBUTE]
    except (RecordError, KeyError, TypeError):
        found = "unknown"
    whose = "this model" if found == digest else f"model {str(found)[:12]}, not {digest[:12]}"
    raise RecordError(
        f"{store} holds embeddings of {whose}: a store is written once, and embeddings of two "
        "models do not mix. Write a new one beside it"
    )


def consolidate(store: Path) -> None:
    """Copy all metadata into the root, in name order: folder listings have no order."""
    with warnings.catch_warnings():
        # Zarr v3 has not yet specified this, but clients cannot open a store without it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store)
    path = store / METADATA_NAME
    write_json(path, json.loads(path.read_bytes()))


def _create_arrays(
    group: zarr.Group, zone: Zone, years: Sequence[int], dimensions: int, settings: ExportConfig
) -> None:
    chunk, shard = settings.chunk_size, settings.shard_size
    group.create_array(
        CODES,
        shape=(len(years), dimensions, zone.height, zone.width),
        dtype=np.int8,
        chunks=(1, dimensions, chunk, chunk),
        shards=(1, dimensions, shard, shard),
        compressors=_blosc(np.dtype(np.int8)),
        fill_value=0,
        dimension_names=("time", "band", "y", "x"),
    )
    group.create_array(
        SCALES,
        shape=(len(years), zone.height, zone.width),
        dtype=np.float32,
        chunks=(1, chunk, chunk),
        shards=(1, shard, shard),
        compressors=_blosc(np.dtype(np.float32)),
        fill_value=NO_DATA_SCALE,
        dimension_names=("time", "y", "x"),
    )
    x, y = zone.centres()
    coordinates: dict[str, npt.NDArray[Any]] = {
        "time": np.array(years, np.int32),
        "band": np.arange(dimensions, dtype=np.int32),
        "y": y,
        "x": x,
    }
    for name, values in coordinates.items():
        axis = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            compressors=_blosc(values.dtype),
            dimension_names=(name,),
        )
        axis[:] = values


def _blosc(dtype: np.dtype[Any]) -> BloscCodec:
    return BloscCodec(
        cname="zstd",
        clevel=COMPRESSION_LEVEL,
        # Bytes of equal rank go together; int8 has only bits to sort.
        shuffle="bitshuffle" if dtype.itemsize == 1 else "shuffle",
        typesize=dtype.itemsize,
    )


def _fill(
    group: zarr.Group,
    export: Path,
    tiles: Sequence[PlacedTile],
    time: int,
    shard_size: int,
    label: str,
) -> None:
    """Write every shard of one year that a tile reaches."""
    codes, scales = group[CODES], group[SCALES]
    if not isinstance(codes, zarr.Array) or not isinstance(scales, zarr.Array):
        raise TypeError(f"{label}: {CODES} and {SCALES} are not arrays")
    dimensions, height, width = codes.shape[1:]
    reaching = shards_reached(tiles, shard_size)
    for (i, j), inside in tqdm(
        sorted(reaching.items()), desc=f"write {label}", leave=False, disable=None
    ):
        rows = slice(i * shard_size, min((i + 1) * shard_size, height))
        columns = slice(j * shard_size, min((j + 1) * shard_size, width))
        codes_BHW, scales_HW = _shard(export, inside, rows, columns, dimensions)
        codes[time, :, rows, columns] = codes_BHW
        scales[time, rows, columns] = scales_HW


def shards_reached(
    tiles: Sequence[PlacedTile], shard_size: int
) -> dict[tuple[int, int], list[PlacedTile]]:
    """Return the tiles in each shard that any tile reaches, by shard row and column."""
    reached: dict[tuple[int, int], list[PlacedTile]] = {}
    for placed in tiles:
        rows, columns = placed.window
        for i in range(rows.start // shard_size, (rows.stop - 1) // shard_size + 1):
            for j in range(columns.start // shard_size, (columns.stop - 1) // shard_size + 1):
                reached.setdefault((i, j), []).append(placed)
    return reached


def _shard(
    export: Path, tiles: Sequence[PlacedTile], rows: slice, columns: slice, dimensions: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return codes (band, row, column) and scales (row, column) of one shard."""
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    codes = np.zeros((*shape, dimensions), np.int8)
    scales = np.full(shape, NO_DATA_SCALE, np.float32)
    for placed in tiles:
        files = tile_files(export, placed.tile.name, placed.tile.year)
        own_rows, shard_rows = _cut(placed.row, placed.window[0], rows)
        own_columns, shard_columns = _cut(placed.column, placed.window[1], columns)
        source, target = (own_rows, own_columns), (shard_rows, shard_columns)
        found = open_array(files.scales)[source]
        # The first tile in order keeps a pixel that several cover.
        fresh = np.isfinite(found) & ~np.isfinite(scales[target])
        scales[target][fresh] = found[fresh]
        codes[target][fresh] = open_array(files.codes)[source][fresh]
    return np.moveaxis(codes, -1, 0), scales


def _cut(start: int, window: slice, shard: slice) -> tuple[slice, slice]:
    """Return the part of one axis in a tile and a shard, in each one's own indices."""
    low, high = max(window.start, shard.start), min(window.stop, shard.stop)
    return slice(low - start, high - start), slice(low - shard.start, high - shard.start)
