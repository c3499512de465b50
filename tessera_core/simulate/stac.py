"""STAC documents of the simulated catalogue, named as Planetary Computer names them.

Plain dictionaries: the structure is fixed, and plain JSON with sorted keys is the shortest way
to the same bytes everywhere.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tessera_core.domain.bands import S1_BANDS, S2_BANDS
from tessera_core.domain.scl import SceneClass
from tessera_core.simulate.config import SimulateConfig
from tessera_core.simulate.optical import OpticalScene
from tessera_core.simulate.radar import RadarOverpass
from tessera_core.simulate.raster import EPSG, Frame
from tessera_core.simulate.weather import sun_position

S2_COLLECTION: Final = "sentinel-2-l2a"
S1_COLLECTION: Final = "sentinel-1-rtc"
SIMULATION_PROPERTY: Final = "tessera:simulation"

STAC_VERSION: Final = "1.1.0"
EXTENSIONS: Final = "https://stac-extensions.github.io"
COMMON_EXTENSIONS: Final = (
    f"{EXTENSIONS}/projection/v2.0.0/schema.json",
    f"{EXTENSIONS}/file/v2.1.0/schema.json",
    f"{EXTENSIONS}/sat/v1.0.0/schema.json",
)
COG_TYPE: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
JSON_TYPE: Final = "application/json"
GEOJSON_TYPE: Final = "application/geo+json"

MULTIHASH_SHA256: Final = "1220"
"""Prefix of a multihash: SHA-256, 32 bytes."""

BASELINE_WITHOUT_OFFSET: Final = "03.01"
BASELINE_WITH_OFFSET: Final = "04.00"

# Sentinel-1A passed orbit 41,310 in the first minutes of 2022, and 175 orbits take 12 days.
REFERENCE_ORBIT: Final = 41_310
REFERENCE_DAY: Final = datetime(2022, 1, 1).toordinal()
ORBITS_PER_DAY: Final = 175 / 12

SIMULATED: Final = "Simulated: shows that the machinery works and says nothing about the science."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """One raster as it lies on disk."""

    name: str
    """Asset name, as ``B04`` or ``vv``; its file is named after it."""

    frame: Frame
    size: int
    """Bytes."""

    sha256: str
    """Hex digest of the file."""


def optical_item(
    scene: OpticalScene, assets: list[StoredAsset], *, has_offset: bool
) -> dict[str, Any]:
    """Return the STAC item of a Sentinel-2 granule."""
    overpass = scene.overpass
    zenith, azimuth = sun_position(overpass.day_of_year)
    satellite = f"S{overpass.platform.removeprefix('Sentinel-')}"
    item_id = (
        f"{satellite}_MSIL2A_{overpass.acquired:%Y%m%dT%H%M%S}"
        f"_R{overpass.relative_orbit:03d}_T{scene.granule}"
    )
    percent = {
        "s2:snow_ice_percentage": SceneClass.SNOW,
        "s2:vegetation_percentage": SceneClass.VEGETATION,
        "s2:water_percentage": SceneClass.WATER,
        "s2:thin_cirrus_percentage": SceneClass.THIN_CIRRUS,
        "s2:cloud_shadow_percentage": SceneClass.CLOUD_SHADOW,
    }
    nodata = 100.0 * float((scene.scl == SceneClass.NO_DATA).mean())
    properties: dict[str, Any] = {
        "platform": overpass.platform,
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "eo:cloud_cover": round(scene.cloud_percent, 4),
        "s2:mgrs_tile": scene.granule,
        "s2:processing_baseline": BASELINE_WITH_OFFSET if has_offset else BASELINE_WITHOUT_OFFSET,
        "s2:product_type": "S2MSI2A",
        "s2:nodata_pixel_percentage": round(nodata, 4),
        "s2:mean_solar_zenith": round(zenith, 4),
        "s2:mean_solar_azimuth": round(azimuth, 4),
        "sat:orbit_state": "descending",
        "sat:relative_orbit": overpass.relative_orbit,
        **{name: round(scene.class_percent(kind), 4) for name, kind in percent.items()},
    }
    common_names = {band.name: band.common_name for band in S2_BANDS}
    described = {}
    for asset in assets:
        described[asset.name] = _asset(asset)
        if asset.name in common_names:
            described[asset.name]["eo:bands"] = [
                {"name": asset.name, "common_name": common_names[asset.name]}
            ]
    return _item(
        item_id,
        S2_COLLECTION,
        acquired=overpass.acquired,
        frame=assets[0].frame,
        properties=properties,
        assets=described,
        extensions=(*COMMON_EXTENSIONS, f"{EXTENSIONS}/eo/v1.1.0/schema.json"),
    )


def radar_item(overpass: RadarOverpass, assets: list[StoredAsset]) -> dict[str, Any]:
    """Return the STAC item of a Sentinel-1 acquisition."""
    acquired, track = overpass.acquired, overpass.track
    days = acquired.toordinal() - REFERENCE_DAY
    absolute_orbit = REFERENCE_ORBIT + int(days * ORBITS_PER_DAY)
    item_id = f"S1A_IW_GRDH_1SDV_{acquired:%Y%m%dT%H%M%S}_{absolute_orbit:06d}_rtc"
    properties = {
        "platform": "SENTINEL-1A",
        "constellation": "Sentinel-1",
        "instruments": ["C-SAR Sensor"],
        "sar:frequency_band": "C",
        "sar:instrument_mode": "IW",
        "sar:polarizations": [band.name for band in S1_BANDS],
        "sar:product_type": "GRD",
        "sat:orbit_state": track.orbit_state,
        "sat:relative_orbit": track.relative_orbit,
        "sat:absolute_orbit": absolute_orbit,
    }
    return _item(
        item_id,
        S1_COLLECTION,
        acquired=acquired,
        frame=assets[0].frame,
        properties=properties,
        assets={asset.name: _asset(asset) for asset in assets},
        extensions=(*COMMON_EXTENSIONS, f"{EXTENSIONS}/sar/v1.0.0/schema.json"),
    )


def _item(
    item_id: str,
    collection: str,
    *,
    acquired: datetime,
    frame: Frame,
    properties: dict[str, Any],
    assets: dict[str, Any],
    extensions: tuple[str, ...],
) -> dict[str, Any]:
    corners = [list(corner) for corner in frame.corners_degrees()]
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(extensions),
        "id": item_id,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "bbox": frame.bbox_degrees(),
        "properties": {
            "datetime": f"{acquired:%Y-%m-%dT%H:%M:%SZ}",
            "proj:code": f"EPSG:{EPSG}",
            "proj:bbox": frame.bbox_m,
            **properties,
        },
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": JSON_TYPE},
            {"rel": "parent", "href": "../collection.json", "type": JSON_TYPE},
            {"rel": "collection", "href": "../collection.json", "type": JSON_TYPE},
        ],
        "assets": assets,
    }


def _asset(asset: StoredAsset) -> dict[str, Any]:
    return {
        "href": f"./{asset.name}.tif",
        "type": COG_TYPE,
        "roles": ["data"],
        "gsd": asset.frame.pixel_m,
        "proj:shape": [asset.frame.rows, asset.frame.columns],
        "proj:transform": asset.frame.transform,
        "file:size": asset.size,
        "file:checksum": f"{MULTIHASH_SHA256}{asset.sha256}",
    }


def collection_document(
    name: str, items: list[dict[str, Any]], area: Frame, year: int
) -> dict[str, Any]:
    """Return the document of one collection, linking its items in the order given."""
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "title": f"{name} (simulated)",
        "description": f"Structure of Planetary Computer's {name}. {SIMULATED}",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [area.bbox_degrees()]},
            "temporal": {"interval": [[f"{year}-01-01T00:00:00Z", f"{year}-12-31T23:59:59Z"]]},
        },
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": JSON_TYPE},
            {"rel": "parent", "href": "../catalog.json", "type": JSON_TYPE},
            *(
                {"rel": "item", "href": f"./{item['id']}/{item['id']}.json", "type": GEOJSON_TYPE}
                for item in items
            ),
        ],
    }


def catalogue_document(config: SimulateConfig, days: range) -> dict[str, Any]:
    """Return the root document, which records what the catalogue was made from."""
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": f"tessera-simulated-{config.year}-seed-{config.seed}",
        "description": f"Sentinel-1/2 scenes of a landscape with known truth. {SIMULATED}",
        SIMULATION_PROPERTY: config.record(days),
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": JSON_TYPE},
            *(
                {"rel": "child", "href": f"./{name}/collection.json", "type": JSON_TYPE}
                for name in (S2_COLLECTION, S1_COLLECTION)
            ),
        ],
    }
