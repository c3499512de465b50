"""Sentinel-1/2 bands: order, native resolution, encoding. The one home of these facts.

The S2 order is TESSERA's and is *not* ascending in wavelength (method.md 1.3).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One stored band."""

    name: str
    """Product name, as ``B04`` or ``VV``."""

    common_name: str
    """STAC ``eo`` common name, or the polarisation in lower case."""

    resolution_m: int
    """Ground sampling of the source raster in metres."""


S2_BANDS: Final = (
    Band(name="B04", common_name="red", resolution_m=10),
    Band(name="B02", common_name="blue", resolution_m=10),
    Band(name="B03", common_name="green", resolution_m=10),
    Band(name="B08", common_name="nir", resolution_m=10),
    Band(name="B8A", common_name="nir08", resolution_m=20),
    Band(name="B05", common_name="rededge071", resolution_m=20),
    Band(name="B06", common_name="rededge075", resolution_m=20),
    Band(name="B07", common_name="rededge078", resolution_m=20),
    Band(name="B11", common_name="swir16", resolution_m=20),
    Band(name="B12", common_name="swir22", resolution_m=20),
)
S1_BANDS: Final = (
    Band(name="VV", common_name="vv", resolution_m=10),
    Band(name="VH", common_name="vh", resolution_m=10),
)

S2_NAMES: Final = tuple(band.name for band in S2_BANDS)
S1_NAMES: Final = tuple(band.name for band in S1_BANDS)
NUM_S2: Final = len(S2_BANDS)
NUM_S1: Final = len(S1_BANDS)

ORBITS: Final = ("ascending", "descending")
"""Sentinel-1 passes in the order in which series are concatenated (method.md 3.1)."""

REFLECTANCE_SCALE: Final = 10_000
"""Stored S2 value = reflectance x 10000; 0 is no data."""

TILE_RESOLUTION_M: Final = 10
"""Pixel size of every tile in metres."""
