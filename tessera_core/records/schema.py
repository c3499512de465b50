"""Parquet schemas of samples, shards and scenes, with their version."""

import json
from typing import Any, Final

import pyarrow as pa

from tessera_core.errors import RecordError

SAMPLES_VERSION: Final = 1
METADATA_KEY: Final = b"tessera"

SERIES_FIELDS: Final = (
    pa.field("s2_reflectance", pa.list_(pa.uint16())),
    pa.field("s2_scl", pa.list_(pa.uint8())),
    pa.field("s2_day_of_year", pa.list_(pa.uint16())),
    pa.field("s1_ascending", pa.list_(pa.int16())),
    pa.field("s1_ascending_day_of_year", pa.list_(pa.uint16())),
    pa.field("s1_descending", pa.list_(pa.int16())),
    pa.field("s1_descending_day_of_year", pa.list_(pa.uint16())),
)
"""The observations of one d-pixel: values flattened as (time, band), one day per time."""

POSITION_FIELDS: Final = (
    pa.field("row", pa.int32()),
    pa.field("column", pa.int32()),
    pa.field("x", pa.float64()),
    pa.field("y", pa.float64()),
)
"""Pixel index in its tile, and its centre in metres in the tile's UTM zone."""

SAMPLES: Final = pa.schema([*POSITION_FIELDS, *SERIES_FIELDS])
"""One row is one d-pixel; tile, year and grid stand in the file's metadata."""

SHARD: Final = pa.schema(
    [
        pa.field("tile", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("epsg", pa.int32()),
        pa.field("block", pa.int64()),
        *POSITION_FIELDS,
        *SERIES_FIELDS,
    ]
)
"""One row is one d-pixel of any tile."""

SCENES: Final = pa.schema(
    [
        pa.field("scene_id", pa.string()),
        pa.field("collection", pa.string()),
        pa.field("acquired", pa.string()),
        pa.field("orbit", pa.string()),
        pa.field("baseline", pa.string()),
        pa.field("offset_removed", pa.bool_()),
        pa.field("asset", pa.string()),
        pa.field("href", pa.string()),
        pa.field("sha256", pa.string()),
    ]
)
"""One row is one source file of one acquisition."""


def with_metadata(schema: pa.Schema, values: dict[str, Any]) -> pa.Schema:
    """Return the schema carrying JSON metadata and the samples version."""
    stored = json.dumps({**values, "samples_version": SAMPLES_VERSION}, sort_keys=True)
    return schema.with_metadata({METADATA_KEY: stored.encode()})


def metadata_of(schema: pa.Schema, where: object) -> dict[str, Any]:
    """Return the metadata that ``with_metadata`` stored; refuses another version."""
    stored = (schema.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise RecordError(f"{where} carries no tessera metadata; was it written by ingest?")
    values: dict[str, Any] = json.loads(stored)
    if values.get("samples_version") != SAMPLES_VERSION:
        raise RecordError(
            f"{where} has samples version {values.get('samples_version')}, "
            f"expected {SAMPLES_VERSION}; ingest again"
        )
    return values
