"""Sentinel items of a STAC catalogue or API, mosaicked by day onto tiles (method.md 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tessera_core.domain.backscatter import MISSING, scaled_db_from_power
from tessera_core.domain.bands import NUM_S1, NUM_S2, ORBITS, S1_BANDS, S2_BANDS
from tessera_core.domain.baseline import plain_baseline
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.reflectance import OffsetPolicy, carries_offset, remove_offset
from tessera_core.domain.scl import SceneClass, clear_mask
from tessera_core.domain.tile import OpticalSeries, RadarSeries, TileSeries, empty_radar
from tessera_core.errors import InputError, SceneError
from tessera_core.ingest.catalogue import open_catalogue
from tessera_core.ingest.config import STAC_API_SCHEMES
from tessera_core.ingest.items import SCL_ASSET, StacItem
from tessera_core.ingest.rasters import read_onto_grid
from tessera_core.ingest.remote import unsigned
from tessera_core.ingest.sources import TileRef, exclusion_remark
from tessera_core.ingest.tiling import cut_tiles
from tessera_core.records.samples import Scene

if TYPE_CHECKING:
    from tessera_core.ingest.config import IngestConfig
    from tessera_core.records.files import FileDigest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpticalImage:
    """One Sentinel-2 item, or a day's mosaic, on a tile's grid."""

    reflectance: npt.NDArray[np.uint16]
    """(row, column, band)."""

    scl: npt.NDArray[np.uint8]
    """(row, column)."""


class StacScenes:
    """A static STAC catalogue or a STAC API with Sentinel-2 L2A and Sentinel-1 RTC items."""

    def __init__(self, config: IngestConfig, root: Path) -> None:
        self._config = config
        self._root = root
        self._catalogue = open_catalogue(config, root)

    @cached_property
    def _listed(self) -> tuple[list[StacItem], list[StacItem]]:
        """All Sentinel-2 and all Sentinel-1 items, recalled ones too."""
        config = self._config
        return (
            self._catalogue.items(config.optical_collection),
            self._catalogue.items(config.radar_collection),
        )

    @cached_property
    def _optical(self) -> list[StacItem]:
        return self._kept(self._listed[0])

    @cached_property
    def _radar(self) -> list[StacItem]:
        return self._kept(self._listed[1])

    @cached_property
    def _grids(self) -> list[TileGrid]:
        return cut_tiles(self._optical, self._config.bbox, self._config.tile_size)

    def _kept(self, items: list[StacItem]) -> list[StacItem]:
        """Return the items that were not recalled."""
        excluded = {plain_baseline(name) for name in self._config.exclude}
        return [item for item in items if excluded.isdisjoint((item.scene_id, item.baseline))]

    def remarks(self) -> list[str]:
        """Return which names in ``ingest.exclude`` nothing has."""
        items = [item for listed in self._listed for item in listed]
        known = {name for item in items for name in (item.scene_id, item.baseline)}
        known.update(map(_tile_name, self._grids))
        return [
            exclusion_remark(name)
            for name in self._config.exclude
            if plain_baseline(name) not in known
        ]

    def digests(self) -> tuple[FileDigest, ...]:
        """Return the identity of all items and their local files."""
        return self._catalogue.digests([*self._optical, *self._radar])

    def tiles(self) -> list[TileRef]:
        """Cut the area into tiles, one per calendar year that has Sentinel-2 items."""
        years = [self._config.year] if self._config.year else _years(self._optical)
        refs = [
            TileRef(name=_tile_name(grid), year=year, grid=grid)
            for year in years
            for grid in self._grids
            if _tile_name(grid) not in self._config.exclude
        ]
        if not refs:
            raise SceneError(
                f"no {self._config.optical_collection} item of {self._config.path} lies in "
                "ingest.bbox and ingest.year and is not in ingest.exclude; widen them"
            )
        return refs

    def read(self, ref: TileRef) -> tuple[TileSeries, list[Scene]]:
        """Read, harmonise and mosaic every acquisition of a tile and year."""
        optical_items = _of_tile(self._optical, ref)
        radar_items = _of_tile(self._radar, ref)
        optical = self._read_optical(optical_items, ref.grid)
        radar = {
            orbit: self._read_radar([i for i in radar_items if i.orbit == orbit], ref.grid)
            for orbit in ORBITS
        }
        try:
            tile = TileSeries(
                name=ref.name,
                year=ref.year,
                grid=ref.grid,
                optical=optical,
                ascending=radar["ascending"],
                descending=radar["descending"],
                inside=np.ones((ref.grid.height, ref.grid.width), np.bool_),
            )
        except InputError as error:
            raise SceneError(f"{self._config.path}: {error}") from error
        return tile, list(self._scenes([*optical_items, *radar_items]))

    def _read_optical(self, items: list[StacItem], grid: TileGrid) -> OpticalSeries:
        """Return one mosaic per date; dates that do not reach the tile are left out."""
        images: dict[date, OpticalImage] = {}
        for acquired, same_day in _by_date(items):
            read = [self._read_image(item, grid) for item in same_day]
            found = [image for image in read if image is not None]
            if found:
                images[acquired] = mosaic_day(found)
        height, width = grid.height, grid.width
        if not images:
            return OpticalSeries(
                reflectance=np.zeros((0, height, width, NUM_S2), np.uint16),
                scl=np.zeros((0, height, width), np.uint8),
                day_of_year=np.zeros(0, np.uint16),
            )
        return OpticalSeries(
            reflectance=np.stack([image.reflectance for image in images.values()]),
            scl=np.stack([image.scl for image in images.values()]),
            day_of_year=_days(images),
        )

    def _read_image(self, item: StacItem, grid: TileGrid) -> OpticalImage | None:
        """Return one item on the grid, or None when it has no pixel there."""
        scl = self._read(item, SCL_ASSET, grid, resampling="nearest", nodata=SceneClass.NO_DATA)
        if not scl.any():
            return None
        bands = [self._read(item, band.name, grid) for band in S2_BANDS]
        codes = _whole(scl, np.iinfo(np.uint8).max, item.asset(SCL_ASSET))
        named = zip(S2_BANDS, bands, strict=True)
        most = np.iinfo(np.uint16).max
        whole = [_whole(values, most, item.asset(band.name)) for band, values in named]
        reflectance = np.stack(whole, axis=-1).astype(np.uint16)
        if self._removes_offset(item):
            reflectance = remove_offset(reflectance)
        return OpticalImage(reflectance=reflectance, scl=codes.astype(np.uint8))

    def _read_radar(self, items: list[StacItem], grid: TileGrid) -> RadarSeries:
        """Return one mosaic per date of one orbit direction, merged first-valid."""
        images: dict[date, npt.NDArray[np.int16]] = {}
        for acquired, same_day in _by_date(items):
            merged = np.zeros((grid.height, grid.width, NUM_S1), np.int16)
            for item in same_day:
                image = self._read_backscatter(item, grid)
                merged = np.where(merged == MISSING, image, merged)
            if merged.any():
                images[acquired] = merged
        if not images:
            return empty_radar(grid)
        return RadarSeries(
            backscatter_scaled_db=np.stack(list(images.values())), day_of_year=_days(images)
        )

    def _read_backscatter(self, item: StacItem, grid: TileGrid) -> npt.NDArray[np.int16]:
        """Return scaled dB (row, column, VV VH); a polarisation that was not sent is missing."""
        image = np.zeros((grid.height, grid.width, NUM_S1), np.int16)
        for index, band in enumerate(S1_BANDS):
            if band.common_name in item.assets:
                power = self._read(item, band.common_name, grid)
                image[..., index] = scaled_db_from_power(power)
        return image

    def _read(
        self, item: StacItem, asset: str, grid: TileGrid, resampling: str = "", nodata: float = 0
    ) -> npt.NDArray[Any]:
        """Return an asset on a tile's grid, (row, column)."""
        path = self._config.path
        return read_onto_grid(
            item.asset(asset),
            grid,
            resampling=resampling or self._config.resampling,
            nodata=nodata,
            api=path if path.startswith(STAC_API_SCHEMES) else None,
        )

    def _removes_offset(self, item: StacItem) -> bool:
        return carries_offset(item.acquired, OffsetPolicy(self._config.offset_policy))

    def _scenes(self, items: Iterable[StacItem]) -> Iterator[Scene]:
        """Yield one row per file that was read."""
        optical_assets = (*(band.name for band in S2_BANDS), SCL_ASSET)
        radar_assets = tuple(band.common_name for band in S1_BANDS)
        for item in items:
            is_optical = item.collection == self._config.optical_collection
            for asset in optical_assets if is_optical else radar_assets:
                if asset in item.assets:
                    yield Scene(
                        scene_id=item.scene_id,
                        collection=item.collection,
                        acquired=item.acquired.isoformat(),
                        orbit=item.orbit,
                        baseline=item.baseline,
                        offset_removed=is_optical and self._removes_offset(item),
                        asset=asset,
                        href=self._catalogue.relative(item.asset(asset)),
                        sha256=self._catalogue.sha256(item.asset(asset)),
                    )


def mosaic_day(images: list[OpticalImage]) -> OpticalImage:
    """Return one image per pixel from the first item that is clear there.

    One item supplies all bands, so that they stay consistent. Where none is clear, the first
    with data is kept: the reference takes a random one, which would not be repeatable.

    Args:
        images: Items of one date in catalogue order, at least one.
    """
    scl = np.stack([image.scl for image in images])
    # 2 = clear, 1 = data but obscured, 0 = nothing; argmax takes the first of the best.
    rank = clear_mask(scl).astype(np.int8) + (scl != SceneClass.NO_DATA)
    best = rank.argmax(axis=0)
    rows, columns = np.indices(best.shape)
    reflectance = np.stack([image.reflectance for image in images])
    return OpticalImage(reflectance=reflectance[best, rows, columns], scl=scl[best, rows, columns])


def _whole(values: npt.NDArray[Any], most: int, href: str) -> npt.NDArray[Any]:
    """Return whole numbers from 0 to ``most``; anything else would be stored as something else."""
    if values.dtype.kind not in "iu" or not 0 <= int(values.min()) <= int(values.max()) <= most:
        found = f"{values.dtype} from {values.min()} to {values.max()}"
        raise SceneError(
            f"{unsigned(href)} holds {found}, expected whole numbers of 0 to {most}: "
            "reflectance x 10000, scene classes"
        )
    return values


def _of_tile(items: list[StacItem], ref: TileRef) -> list[StacItem]:
    return [item for item in items if item.acquired.year == ref.year and item.overlaps(ref.grid)]


def _by_date(items: list[StacItem]) -> Iterator[tuple[date, list[StacItem]]]:
    """Yield the items of each date, in catalogue order within a date."""
    ordered = sorted(items, key=lambda item: item.acquired)
    for acquired, group in groupby(ordered, key=lambda item: item.acquired):
        yield acquired, list(group)


def _days(images: dict[date, Any]) -> npt.NDArray[np.uint16]:
    return np.array([day.timetuple().tm_yday for day in images], np.uint16)


def _years(items: list[StacItem]) -> list[int]:
    return sorted({item.acquired.year for item in items})


def _tile_name(grid: TileGrid) -> str:
    return f"{grid.epsg}_{round(grid.west)}_{round(grid.north)}"
