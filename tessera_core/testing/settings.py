"""Settings of one stage, where a test names only what it is about."""

from typing import Any

from tessera_core.ingest.config import IngestConfig
from tessera_core.shuffle.config import ShuffleConfig


def ingest_settings(**changes: Any) -> IngestConfig:
    """Return settings that read a static catalogue in ``scenes``, 20 m bands by nearest."""
    values: dict[str, Any] = {
        "source": "stac",
        "path": "scenes",
        "year": None,
        "bbox": None,
        "tile_size": 64,
        "optical_collection": "sentinel-2-l2a",
        "radar_collection": "sentinel-1-rtc",
        "offset_policy": "by_date",
        "resampling": "nearest",
    }
    return IngestConfig(**{**values, **changes})


def shuffle_settings(**changes: Any) -> ShuffleConfig:
    """Return settings for tiles of a few pixels: small shards, blocks of two by two pixels."""
    values: dict[str, Any] = {
        "seed": 13,
        "rows_per_shard": 7,
        "block_size_m": 20,
        "val_share": 0.2,
        "test_share": 0.2,
    }
    return ShuffleConfig(**{**values, **changes})
