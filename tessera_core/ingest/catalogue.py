"""STAC items, from a static catalogue on disk or from an API."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tessera_core.domain.bands import ORBITS
from tessera_core.errors import InputError, SceneError, did_you_mean
from tessera_core.ingest.config import STAC_API_SCHEMES, IngestConfig
from tessera_core.ingest.remote import GuardedSession, require_allowed
from tessera_core.records.files import FileDigest, canonical_json
from tessera_core.records.outside import digest_source, plain_path, source_name

if TYPE_CHECKING:
    import pystac
    from pystac_client.stac_api_io import StacApiIO

    from tessera_core.domain.grid import TileGrid


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

    bounds: tuple[float, float, float, float] | None
    """West, south, east, north in that CRS, metres."""

    lonlat: tuple[float, float, float, float]
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


class Catalogue(Protocol):
    """Where items come from."""

    def items(self, collection: str) -> list[StacItem]:
        """Return a collection's items in catalogue order."""

    def digests(self, items: list[StacItem]) -> tuple[FileDigest, ...]:
        """Return the identity of items and local assets."""

    def relative(self, href: str) -> str:
        """Return an asset's address as it is recorded."""

    def sha256(self, href: str) -> str:
        """Return an asset's digest, or empty when it is not known."""


def open_catalogue(config: IngestConfig, root: Path) -> Catalogue:
    """Return the catalogue that the settings name."""
    if config.path.startswith(STAC_API_SCHEMES):
        return ApiCatalogue(config)
    return StaticCatalogue(config, root)


class StaticCatalogue:
    """A catalogue on disk; nothing outside its folder is ever read."""

    def __init__(self, config: IngestConfig, root: Path) -> None:
        import pystac

        self._root = root
        path = root / config.path
        path = path if path.suffix == ".json" else path / "catalog.json"
        self._named = path.parent
        # What pystac makes of relative addresses has no "..".
        path = plain_path(path)
        self._folder = path.parent
        with _stac_errors(
            f"the STAC catalogue {path}",
            "set ingest.path to a folder with catalog.json or to the address of a STAC API",
        ):
            self._catalogue = pystac.Catalog.from_file(str(path), _documents_below(self._folder))

    def items(self, collection: str) -> list[StacItem]:
        """Return a collection's items in catalogue order."""
        with _stac_errors(
            f"the items of {collection} in {self._folder}", "is the catalogue complete?"
        ):
            children = {child.id: child for child in self._catalogue.get_children()}
            if collection not in children:
                raise SceneError(
                    f"{self._folder} has no collection {collection!r}. "
                    f"{did_you_mean(collection, children)}"
                )
            return [self._describe(item) for item in children[collection].get_items()]

    def digests(self, items: list[StacItem]) -> tuple[FileDigest, ...]:
        """Return the digests of item files and of every asset that ingest may read."""
        own = tuple(item.identity for item in items)
        return own + tuple(
            self._digest_of[href] for item in items for href in sorted(item.assets.values())
        )

    def relative(self, href: str) -> str:
        """Return how receipts name the file."""
        return source_name(self._as_set(href), self._root)

    def sha256(self, href: str) -> str:
        """Return the file's digest."""
        return self._digest_of[href].sha256

    @cached_property
    def _digest_of(self) -> _DigestCache:
        return _DigestCache(lambda href: digest_source(self._as_set(href), self._root))

    def _as_set(self, href: str) -> Path:
        """Return a file's path as the setting leads to it."""
        return self._named / os.path.relpath(href, self._folder)

    def _describe(self, item: pystac.Item) -> StacItem:
        assets = {key: self._checked(item, key) for key in item.assets}
        return describe(item, assets, digest_source(self._as_set(item.self_href), self._root))

    def _checked(self, item: pystac.Item, key: str) -> str:
        """Return an asset's path; an href that leaves the catalogue's folder is refused."""
        href = item.assets[key].get_absolute_href() or item.assets[key].href
        _require_below(self._folder, href, f"item {item.id}: asset {key}")
        return href


class ApiCatalogue:
    """A STAC API, searched by area and year."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config

    def items(self, collection: str) -> list[StacItem]:
        """Search the API; items are ordered by time, then id."""
        from pystac_client.errors import ClientTypeError
        from pystac_client.exceptions import APIError

        path = self._config.path
        with _stac_errors(f"the STAC API {path}", "is ingest.path the address of its first page?"):
            try:
                found = self._search(collection)
            except (APIError, ClientTypeError) as error:
                raise SceneError(f"the STAC API {path} did not answer: {error}") from error
        return sorted(found, key=lambda item: (item.acquired, item.scene_id))

    def _search(self, collection: str) -> list[StacItem]:
        from pystac_client import Client, ConformanceClasses
        from pystac_client.warnings import NoConformsTo

        config = self._config
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoConformsTo)  # it becomes an error below
            client = Client.open(config.path, stac_io=_guarded_io(config.path))
        if not client.conforms_to(ConformanceClasses.ITEM_SEARCH):
            raise SceneError(
                f"{config.path} is not a STAC API with item search; set ingest.path to the first "
                "page of one, or download a static catalogue and name its folder"
            )
        known = {child.id for child in client.get_collections()}
        if collection not in known:
            raise SceneError(
                f"{config.path} has no collection {collection!r}. {did_you_mean(collection, known)}"
            )
        search = client.search(
            collections=[collection],
            bbox=config.bbox,
            datetime=f"{config.year}-01-01/{config.year}-12-31",
        )
        return [self._describe(item) for item in search.items()]

    def digests(self, items: list[StacItem]) -> tuple[FileDigest, ...]:
        """Return the digests of the item descriptions; assets stay remote."""
        return tuple(item.identity for item in items)

    def relative(self, href: str) -> str:
        """Return the address without its query, which may hold a signature."""
        return href.partition("?")[0]

    def sha256(self, href: str) -> str:
        """Return empty: a remote asset is not read as a whole."""
        return ""

    def _describe(self, item: pystac.Item) -> StacItem:
        assets = {key: self._checked(item, key) for key in item.assets}
        stable = {
            "id": item.id,
            "properties": {k: str(v) for k, v in item.properties.items()},
            "assets": {key: self.relative(href) for key, href in assets.items()},
        }
        content = canonical_json(stable)
        identity = FileDigest(
            path=f"{self._config.path}/collections/{item.collection_id}/items/{item.id}",
            sha256=hashlib.sha256(content).hexdigest(),
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            size=len(content),
        )
        return describe(item, assets, identity)

    def _checked(self, item: pystac.Item, key: str) -> str:
        """Return an asset's address; without https only the API's own host is ever asked."""
        href = item.assets[key].get_absolute_href() or item.assets[key].href
        require_allowed(href, self._config.path, f"item {item.id}: asset {key}")
        return href


def describe(item: pystac.Item, assets: Mapping[str, str], identity: FileDigest) -> StacItem:
    """Return what ingest needs of an item; raises SceneError when it says too little."""
    properties: dict[str, Any] = item.properties
    if item.datetime is None or item.bbox is None:
        raise SceneError(f"item {item.id} has no datetime or no bbox; expected both")
    orbit = str(properties.get("sat:orbit_state", ""))
    if orbit and orbit not in ORBITS:
        raise SceneError(f"item {item.id}: sat:orbit_state is {orbit!r}, expected {ORBITS}")
    bounds = properties.get("proj:bbox")
    west, south, east, north = item.bbox
    return StacItem(
        scene_id=item.id,
        collection=str(item.collection_id),
        acquired=item.datetime.astimezone(UTC).date(),
        epsg=_epsg(properties),
        bounds=(bounds[0], bounds[1], bounds[2], bounds[3]) if bounds else None,
        lonlat=(west, south, east, north),
        orbit=orbit,
        baseline=str(properties.get("s2:processing_baseline", "")),
        assets=dict(assets),
        identity=identity,
    )


class _DigestCache(dict[str, FileDigest]):
    """File digests by path, each read once."""

    def __init__(self, read: Callable[[str], FileDigest]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, href: str) -> FileDigest:
        self[href] = self._read(href)
        return self[href]


@contextlib.contextmanager
def _stac_errors(what: str, advice: str) -> Iterator[None]:
    """Turn what pystac raises where a document is absent or not STAC into a SceneError."""
    from pystac import STACError, STACTypeError

    malformed = (ValueError, KeyError, TypeError, AttributeError, STACError, STACTypeError)
    try:
        yield
    except InputError:
        raise
    except (OSError, *malformed) as error:
        # pystac itself says which link it followed, the cause says what was wrong with it.
        reason = f"{error} ({error.__cause__})" if error.__cause__ else f"{error}"
        raise SceneError(f"cannot read {what}: {reason}; {advice}") from error


def _documents_below(folder: Path) -> pystac.StacIO:
    """Return a reader of documents that follows no link out of a folder or onto the network."""
    from pystac.stac_io import DefaultStacIO

    class DocumentsBelow(DefaultStacIO):
        def read_text_from_href(self, href: str) -> str:
            _require_below(folder, href, "a link")
            return super().read_text_from_href(href)

    return DocumentsBelow()


def _guarded_io(own: str) -> StacApiIO:
    """Return a reader of an API's documents whose every request is looked at first."""
    from pystac_client.stac_api_io import StacApiIO

    guarded = StacApiIO()
    guarded.session = GuardedSession(own)
    return guarded


def _require_below(folder: Path, href: str, what: str) -> None:
    if "://" in href or not Path(href).resolve().is_relative_to(folder.resolve()):
        raise SceneError(
            f"{what} points to {href}, outside {folder}; "
            "a static catalogue may only name files below its own folder"
        )


def _epsg(properties: Mapping[str, Any]) -> int | None:
    """Return the EPSG code from ``proj:epsg`` or its successor ``proj:code``."""
    if properties.get("proj:epsg") is not None:
        return int(properties["proj:epsg"])
    code = str(properties.get("proj:code", ""))
    return int(code.removeprefix("EPSG:")) if code.startswith("EPSG:") else None


def _intersect(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )
