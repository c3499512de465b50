"""Write the simulated scenes as a static STAC catalogue, with the truth beside them."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import S1_BANDS, S2_BANDS, TILE_RESOLUTION_M
from tessera_core.domain.reflectance import OffsetPolicy, carries_offset
from tessera_core.errors import SceneError
from tessera_core.records.files import storage_errors
from tessera_core.simulate.config import WHOLE_YEAR, SimulateConfig
from tessera_core.simulate.ground import World, build_world
from tessera_core.simulate.optical import (
    COARSE,
    OpticalOverpass,
    OpticalScene,
    optical_overpasses,
    optical_scenes,
)
from tessera_core.simulate.radar import (
    NODATA,
    RadarOverpass,
    radar_overpasses,
    radar_scene,
)
from tessera_core.simulate.raster import Frame, encode_cog, frame_of
from tessera_core.simulate.stac import (
    S1_COLLECTION,
    S2_COLLECTION,
    SIMULATION_PROPERTY,
    StoredAsset,
    catalogue_document,
    collection_document,
    optical_item,
    radar_item,
)
from tessera_core.simulate.truth import NOTHING, legend, truth_rasters
from tessera_core.simulate.weather import Weather, draw_weather

CATALOGUE_NAME: Final = "catalog.json"
LABELS_FOLDER: Final = "labels"

Overpass = TypeVar("Overpass", OpticalOverpass, RadarOverpass)


def simulate(config: SimulateConfig, root: Path) -> Path:
    """Write the catalogue unless it is there already; return the path of ``catalog.json``.

    The folder appears whole or not at all. A catalogue of the same settings is left untouched;
    an older simulation is replaced; anything else in the folder is refused.

    Args:
        config: what to simulate.
        root: workspace that ``config.path`` is relative to.

    Raises:
        SceneError: the folder holds files that no simulation wrote.
    """
    folder = root / config.path
    if _holds_same_simulation(folder, config):
        return folder / CATALOGUE_NAME
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        storage_errors(folder),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".simulate-") as scratch,
    ):
        fresh = Path(scratch) / "fresh"
        write_catalogue(config, fresh)
        if folder.exists():
            folder.rename(Path(scratch) / "replaced")
        fresh.rename(folder)
    return folder / CATALOGUE_NAME


def write_catalogue(config: SimulateConfig, folder: Path, *, days: range = WHOLE_YEAR) -> Path:
    """Write scenes, labels and documents into a new folder; return ``catalog.json``.

    Args:
        config: what to simulate.
        folder: must not exist yet.
        days: days of year whose acquisitions are written; the others change nothing in them.
    """
    from rasterio import Env

    folder.mkdir(parents=True)
    # One environment for all files: setting it up anew for each costs more than some rasters.
    with Env():
        _write_all(config, folder, days)
    # Last, for it is what declares the catalogue complete.
    _write_json(folder / CATALOGUE_NAME, catalogue_document(config, days))
    return folder / CATALOGUE_NAME


def _write_all(config: SimulateConfig, folder: Path, days: range) -> None:
    world, weather = build_world(config), draw_weather(config)
    _write_labels(folder / LABELS_FOLDER, world)
    area = frame_of((config.height, config.width))
    for name, items in (
        (S2_COLLECTION, _optical_items(config, world, weather, folder / S2_COLLECTION, days)),
        (S1_COLLECTION, _radar_items(config, world, weather, folder / S1_COLLECTION, days)),
    ):
        document = collection_document(name, list(items), area, config.year)
        _write_json(folder / name / "collection.json", document)


def _holds_same_simulation(folder: Path, config: SimulateConfig) -> bool:
    """Return whether the folder can be reused; refuse one that must not be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    catalogue = folder / CATALOGUE_NAME
    recorded = None
    if catalogue.is_file():
        try:
            recorded = json.loads(catalogue.read_text(encoding="utf-8")).get(SIMULATION_PROPERTY)
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
            raise SceneError(
                f"{catalogue} is no readable catalogue ({error}), expected one that simulate "
                "wrote. Move it away or choose another simulate.path."
            ) from error
    if not isinstance(recorded, dict):
        raise SceneError(
            f"{folder} holds files that simulate did not write: {CATALOGUE_NAME} is missing or "
            f"has no {SIMULATION_PROPERTY!r}, expected an empty folder or an earlier "
            "simulation. Move them away or choose another simulate.path."
        )
    return bool(recorded.get("digest") == config.record()["digest"])


def _optical_items(
    config: SimulateConfig, world: World, weather: Weather, folder: Path, days: range
) -> Iterator[dict[str, Any]]:
    overpasses = [item for item in optical_overpasses(config.year) if item.day_of_year in days]
    for overpass in _progress(overpasses, "sentinel-2"):
        has_offset = carries_offset(overpass.acquired.date(), OffsetPolicy.BY_DATE)
        for scene in optical_scenes(config, world, weather, overpass):
            rasters: dict[str, tuple[npt.NDArray[Any], Frame]] = {
                band.name: (scene.bands[band.name], _frame(scene, band.resolution_m))
                for band in S2_BANDS
            }
            rasters["SCL"] = (scene.scl, _frame(scene, COARSE * TILE_RESOLUTION_M))
            encoded = _encode(rasters, nodata=NOTHING)
            item = optical_item(scene, _described(encoded, rasters), has_offset=has_offset)
            yield _write_item(folder, item, encoded)


def _radar_items(
    config: SimulateConfig, world: World, weather: Weather, folder: Path, days: range
) -> Iterator[dict[str, Any]]:
    overpasses = [item for item in radar_overpasses(config.year) if item.day_of_year in days]
    area = frame_of((config.height, config.width))
    for overpass in _progress(overpasses, "sentinel-1"):
        gamma0 = radar_scene(config, world, weather, overpass)
        rasters = {band.common_name: (gamma0[index], area) for index, band in enumerate(S1_BANDS)}
        encoded = _encode(rasters, nodata=NODATA)
        yield _write_item(folder, radar_item(overpass, _described(encoded, rasters)), encoded)


def _frame(scene: OpticalScene, pixel_m: int) -> Frame:
    values = scene.bands[S2_BANDS[0].name]
    factor = pixel_m // TILE_RESOLUTION_M
    shape = (values.shape[0] // factor, values.shape[1] // factor)
    return frame_of(shape, pixel_m=pixel_m, first_column=scene.first_column)


def _encode(
    rasters: dict[str, tuple[npt.NDArray[Any], Frame]], *, nodata: float
) -> dict[str, bytes]:
    return {
        name: encode_cog(values, frame, nodata=nodata) for name, (values, frame) in rasters.items()
    }


def _described(
    encoded: dict[str, bytes], rasters: dict[str, tuple[npt.NDArray[Any], Frame]]
) -> list[StoredAsset]:
    return [
        StoredAsset(
            name=name,
            frame=rasters[name][1],
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for name, content in encoded.items()
    ]


def _write_item(folder: Path, item: dict[str, Any], encoded: dict[str, bytes]) -> dict[str, Any]:
    item_folder = folder / item["id"]
    item_folder.mkdir(parents=True)
    for name, content in encoded.items():
        (item_folder / f"{name}.tif").write_bytes(content)
    _write_json(item_folder / f"{item['id']}.json", item)
    return item


def _write_labels(folder: Path, world: World) -> None:
    folder.mkdir()
    for name, values in truth_rasters(world.landscape).items():
        nodata = np.nan if values.dtype.kind == "f" else NOTHING
        frame = frame_of((values.shape[0], values.shape[1]))
        (folder / f"{name}.tif").write_bytes(encode_cog(values, frame, nodata=nodata))
    _write_json(folder / "legend.json", legend())


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _progress(overpasses: list[Overpass], name: str) -> Iterable[Overpass]:
    from tqdm import tqdm

    # disable=None: silent where nobody watches.
    bar: Iterable[Overpass] = tqdm(overpasses, desc=f"simulate {name}", disable=None)
    return bar
