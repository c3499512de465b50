"""What ingest needs of one STAC item; an item that says it wrongly is refused, not guessed at."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from tessera_core.domain.bands import ORBITS, S1_BANDS, S2_BANDS
from tessera_core.domain.grid import MAX_COORDINATE_M
from tessera_core.errors import SceneError
from tessera_core.ingest.config import FIRST_YEAR, LAST_YEAR

if TYPE_CHECKING:
    import pystac

    from tessera_core.domain.grid import TileGrid
    from tessera_core.records.files import FileDigest

Bounds = tuple[float, float, float, float]
MAX_ID: Final = 256
SCL_ASSET: Final = "SCL"
ASSETS: Final = frozenset(
    {SCL_ASSET, *(band.name for band in S2_BANDS), *(band.common_name for band in S1_BANDS)}
)
"""Keys of all assets that are ever read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StacItem:
    """What ingest needs of one STAC item."""

    scene_id: str
    """Item id."""

    collection: str
    """Collection id."""

    acquired: date
    """Date of the acquisition, UTC."""

    epsg: int | None
    """CRS of its rasters, where the item says so."""

    bounds: Bounds | None
    """West, south, east, north in that CRS, metres."""

    lonlat: Bounds
    """West, south, east, north in degrees."""

    orbit: str
    """``ascending``, ``descending`` or empty."""

    baseline: str
    """Sentinel-2 processing baseline, or empty."""

    assets: Mapping[str, str]
    """Absolute path or address of each asset."""

    identity: FileDigest
    """Digest of the item's own description."""

    def asset(self, key: str) -> str:
        """Return where an asset lies; raises SceneError when the item lacks it."""
        if key not in self.assets:
            raise SceneError(
                f"item {self.scene_id} of {self.collection} has no asset {key}; "
                f"it has {', '.join(sorted(self.assets))}"
            )
        return self.assets[key]

    def overlaps(self, grid: TileGrid) -> bool:
        """Return whether the item can reach a tile; exact in one CRS, by degrees across."""
        if self.epsg == grid.epsg and self.bounds is not None:
            return _intersect(self.bounds, grid.bounds)
        from rasterio.warp import transform_bounds

        return _intersect(
            self.lonlat, transform_bounds(f"EPSG:{grid.epsg}", "EPSG:4326", *grid.bounds)
        )


def describe(item: pystac.Item, assets: Mapping[str, str], identity: FileDigest) -> StacItem:
    """Return what ingest needs of an item.

    Args:
        item: As it was read.
        assets: Path or address of each asset.
        identity: Digest of the item's description.

    Raises:
        SceneError: It says too little, or something that cannot be.
    """
    scene_id: Any = item.id  # whatever JSON had there
    if not isinstance(scene_id, str) or not 0 < len(scene_id) <= MAX_ID:
        raise SceneError(
            f"an item has the id {_shown(scene_id)}, expected a text of 1..{MAX_ID} characters"
        )
    what = f"item {item.id}"
    if item.datetime is None or item.bbox is None:
        raise SceneError(f"{what} has no datetime or no bbox; expected both")
    properties: dict[str, Any] = item.properties
    orbit = str(properties.get("sat:orbit_state", ""))
    if orbit and orbit not in ORBITS:
        raise SceneError(f"{what}: sat:orbit_state is {_shown(orbit)}, expected {ORBITS}")
    bounds = properties.get("proj:bbox")
    return StacItem(
        scene_id=scene_id,
        collection=str(item.collection_id),
        acquired=_acquired(item.datetime, what),
        epsg=_epsg(properties, what),
        bounds=None if bounds is None else _box(bounds, f"{what}: proj:bbox", MAX_COORDINATE_M),
        lonlat=_box(item.bbox, f"{what}: bbox", 180),
        orbit=orbit,
        baseline=str(properties.get("s2:processing_baseline", "")),
        assets=dict(assets),
        identity=identity,
    )


def _acquired(moment: datetime, what: str) -> date:
    """Return an item's date, UTC, which it means where it names no zone."""
    if not FIRST_YEAR - 1 <= moment.year <= LAST_YEAR:  # Sentinel-1 is a year older
        raise SceneError(
            f"{what}: datetime is {moment.isoformat()}, expected a year of {FIRST_YEAR - 1} to "
            f"{LAST_YEAR}"
        )
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).date()


def _box(value: Any, what: str, limit: float) -> Bounds:
    """Return west, south, east and north of a box that may have heights too."""
    is_box = (
        isinstance(value, list | tuple)
        and len(value) in {4, 6}
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        and all(math.isfinite(v) for v in value)
    )
    half = len(value) // 2 if is_box else 0
    edges = tuple(float(value[i]) for i in (0, 1, half, half + 1)) if is_box else ()
    if not edges or max(map(abs, edges)) > limit or edges[1] > edges[3]:
        raise SceneError(
            f"{what} is {_shown(value)}, expected the numbers west, south, east, north, "
            f"within -{limit}..{limit}"
        )
    return edges[0], edges[1], edges[2], edges[3]


def _epsg(properties: Mapping[str, Any], what: str) -> int | None:
    """Return the EPSG code from ``proj:epsg`` or its successor ``proj:code``."""
    code = properties.get("proj:epsg")
    if code is None:
        named = str(properties.get("proj:code", ""))
        if not named.startswith("EPSG:"):
            return None
        digits = named.removeprefix("EPSG:")
        code = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else named
    if not isinstance(code, int) or isinstance(code, bool):
        raise SceneError(
            f"{what}: proj:epsg or proj:code is {_shown(code)}, expected a number as in 32631 or "
            "EPSG:32631"
        )
    return code


def _shown(value: object) -> str:
    """Return a value as an error shows it, however large it is."""
    return reprlib.repr(value)


def _intersect(first: Bounds, second: Bounds) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )
