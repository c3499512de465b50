"""Hand-made scenes as a static STAC catalogue, where every value is the test's own choice."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, S1_BANDS, S2_BANDS, TILE_RESOLUTION_M
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.scl import SceneClass

OPTICAL, RADAR = "sentinel-2-l2a", "sentinel-1-rtc"
RADAR_NODATA = -32768.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeScene:
    """One item and its rasters."""

    scene_id: str
    """Item id."""

    collection: str
    """``sentinel-2-l2a`` or ``sentinel-1-rtc``."""

    acquired: datetime
    """Time of the acquisition."""

    grid: TileGrid
    """What the rasters cover, as 10 m pixels."""

    rasters: Mapping[str, npt.NDArray[Any]]
    """Asset key -> (row, column); a coarser shape means larger pixels."""

    nodata: float
    """Value of missing pixels in every raster."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    """Item properties beside time and projection."""


def optical_scene(
    scene_id: str,
    acquired: str,
    grid: TileGrid,
    *,
    value: int | Mapping[str, npt.NDArray[np.uint16]],
    scl: int | npt.NDArray[np.uint8] = SceneClass.VEGETATION,
) -> MadeScene:
    """Return a Sentinel-2 item with SCL at 20 m.

    Args:
        scene_id: Item id.
        acquired: ISO time.
        grid: Even number of rows and columns.
        value: One digital number for all 10 m bands and pixels, or rasters by band.
        scl: One class, or a raster of half the size.
    """
    fine, coarse = (grid.height, grid.width), (grid.height // 2, grid.width // 2)
    bands: dict[str, npt.NDArray[Any]] = {
        band.name: np.full(fine if band.resolution_m == TILE_RESOLUTION_M else coarse, value)
        if isinstance(value, int)
        else value[band.name]
        for band in S2_BANDS
    }
    classes = np.full(coarse, scl, np.uint8) if isinstance(scl, int) else scl
    return MadeScene(
        scene_id=scene_id,
        collection=OPTICAL,
        acquired=datetime.fromisoformat(acquired),
        grid=grid,
        rasters={**{name: band.astype(np.uint16) for name, band in bands.items()}, "SCL": classes},
        nodata=0,
        properties={"s2:processing_baseline": "04.00"},
    )


def radar_scene(
    scene_id: str,
    acquired: str,
    grid: TileGrid,
    *,
    power: float | npt.NDArray[np.float32],
    orbit: str = "ascending",
) -> MadeScene:
    """Return a Sentinel-1 item with equal VV and VH in linear power, NaN = missing."""
    values = np.broadcast_to(np.asarray(power, np.float32), (grid.height, grid.width))
    filled = np.where(np.isnan(values), np.float32(RADAR_NODATA), values)
    return MadeScene(
        scene_id=scene_id,
        collection=RADAR,
        acquired=datetime.fromisoformat(acquired),
        grid=grid,
        rasters={S1_BANDS[i].common_name: filled for i in range(NUM_S1)},
        nodata=RADAR_NODATA,
        properties={"sat:orbit_state": orbit},
    )


def write_catalogue(folder: Path, scenes: Iterable[MadeScene]) -> Path:
    """Write items in the order given and return ``catalog.json``."""
    links: dict[str, list[dict[str, str]]] = {OPTICAL: [], RADAR: []}
    for scene in scenes:
        item_folder = folder / scene.collection / scene.scene_id
        item_folder.mkdir(parents=True)
        for key, values in scene.rasters.items():
            write_raster(item_folder / f"{key}.tif", values, scene.grid, nodata=scene.nodata)
        _write_json(item_folder / f"{scene.scene_id}.json", _item(scene))
        href = f"./{scene.scene_id}/{scene.scene_id}.json"
        links[scene.collection].append({"rel": "item", "href": href})
    for name, items in links.items():
        _write_json(folder / name / "collection.json", _collection(name, items))
    children = [{"rel": "child", "href": f"./{name}/collection.json"} for name in links]
    root = {"type": "Catalog", "stac_version": "1.0.0", "id": "made", "description": "made"}
    _write_json(folder / "catalog.json", {**root, "links": children})
    return folder / "catalog.json"


def write_raster(
    path: Path, values: npt.NDArray[Any], grid: TileGrid, *, nodata: float | None
) -> None:
    """Write a GeoTIFF over the whole grid; the shape decides the pixel size."""
    import rasterio
    from rasterio.transform import from_bounds

    height, width = values.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": values.dtype,
        "crs": f"EPSG:{grid.epsg}",
        "transform": from_bounds(*grid.bounds, width, height),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(values, 1)


def _item(scene: MadeScene) -> dict[str, Any]:
    from rasterio.warp import transform_bounds

    west, south, east, north = transform_bounds(
        f"EPSG:{scene.grid.epsg}", "EPSG:4326", *scene.grid.bounds
    )
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": scene.scene_id,
        "collection": scene.collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {
            "datetime": f"{scene.acquired:%Y-%m-%dT%H:%M:%SZ}",
            "proj:epsg": scene.grid.epsg,
            "proj:bbox": list(scene.grid.bounds),
            **scene.properties,
        },
        "links": [{"rel": "collection", "href": "../collection.json"}],
        "assets": {key: {"href": f"./{key}.tif"} for key in scene.rasters},
    }


def _collection(name: str, links: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": "made",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[None, None]]},
        },
        "links": links,
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
