"""Settings of the ingest stage, where a test names only what it is about."""

from typing import Any

from tessera_core.ingest.config import IngestConfig


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
        "exclude": (),
    }
    return IngestConfig(**{**values, **changes})
