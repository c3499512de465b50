"""Settings of the ingest stage."""

import re
from dataclasses import dataclass
from typing import Final

from tessera_core.domain.reflectance import OffsetPolicy
from tessera_core.errors import ConfigError, did_you_mean

SOURCES: Final = ("stac", "tiles")
RESAMPLING: Final = ("bilinear", "nearest")
STAC_API_SCHEMES: Final = ("https://", "http://")
SAFE_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
"""What can be the name of a tile and of its folder."""

FIRST_YEAR: Final = 2015
LAST_YEAR: Final = 2100
"""Between Sentinel-2's launch and a slip of the pen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestConfig:
    """Where scenes come from and how they become tiles."""

    source: str
    """``stac`` (static catalogue or API) or ``tiles`` (TESSERA d-pixel directories)."""

    path: str
    """Folder or catalog.json relative to the workspace root, or the address of a STAC API."""

    year: int | None
    """Calendar year to ingest, also of tiles that name none; None = every year that is named."""

    bbox: tuple[float, float, float, float] | None
    """West, south, east, north in degrees; None = all that a static catalogue covers."""

    tile_size: int
    """Edge of a tile cut from a catalogue, pixels of 10 m."""

    optical_collection: str
    """STAC collection of Sentinel-2 L2A items."""

    radar_collection: str
    """STAC collection of Sentinel-1 RTC items."""

    offset_policy: str
    """``by_date`` (Planetary Computer) or ``removed_upstream`` (Earth Search)."""

    resampling: str
    """``bilinear`` (as TESSERA was trained) or ``nearest`` for 20 m bands; SCL is nearest."""

    exclude: tuple[str, ...]
    """Recalled data that is left out: scene ids, tile names, processing baselines as ``04.00``."""

    def __post_init__(self) -> None:
        """Refuse values that no source understands."""
        _one_of("ingest.source", self.source, SOURCES)
        _one_of("ingest.resampling", self.resampling, RESAMPLING)
        _one_of("ingest.offset_policy", self.offset_policy, tuple(OffsetPolicy))
        if not 8 <= self.tile_size <= 4096:
            raise ConfigError(f"ingest.tile_size is {self.tile_size}, expected 8..4096 pixels")
        if self.year is not None and not FIRST_YEAR <= self.year <= LAST_YEAR:
            raise ConfigError(
                f"ingest.year is {self.year}, expected {FIRST_YEAR} (Sentinel-2 launch) to "
                f"{LAST_YEAR}"
            )
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                raise ConfigError(
                    f"ingest.bbox is {list(self.bbox)}, expected west < east in -180..180 "
                    "and south < north in -90..90 degrees"
                )
        for name in self.exclude:
            if not SAFE_NAME.fullmatch(name) or self.exclude.count(name) > 1:
                raise ConfigError(
                    f"ingest.exclude holds {name!r}, expected each scene id, tile name or "
                    "processing baseline once, of letters, digits, . _ -; "
                    "`tessera recall NAME` tells what there is"
                )
        if self.path.startswith(STAC_API_SCHEMES) and (self.bbox is None or self.year is None):
            raise ConfigError(
                "ingest.path is a STAC API, which needs ingest.bbox and ingest.year to search"
            )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}. {did_you_mean(value, known)}")
