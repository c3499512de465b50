"""STAC items, from a static catalogue on disk or from an API."""

from __future__ import annotations

import contextlib
import hashlib
import os
import textwrap
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from tessera_core.errors import InputError, SceneError, did_you_mean
from tessera_core.ingest.config import STAC_API_SCHEMES, IngestConfig
from tessera_core.ingest.items import ASSETS, StacItem, describe
from tessera_core.ingest.remote import GuardedSession, require_allowed, stamps, unsigned
from tessera_core.records.files import FileDigest, canonical_json
from tessera_core.records.outside import digest_source, plain_path, source_name

if TYPE_CHECKING:
    import pystac
    from pystac_client.stac_api_io import StacApiIO


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
                raise SceneError(
                    f"the STAC API {path} did not answer: {unsigned(error)}"
                ) from error
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
        found = [self._describe(item) for item in islice(search.items(), MAX_ITEMS + 1)]
        if len(found) > MAX_ITEMS:
            raise SceneError(
                f"{config.path} finds more than {MAX_ITEMS:,} items of {collection}; "
                "set a smaller ingest.bbox"
            )
        return found

    def digests(self, items: list[StacItem]) -> tuple[FileDigest, ...]:
        """Return digests of the item descriptions and of what hosts say of their assets.

        The assets stay remote: their content is told by size, entity tag and time of change.
        """
        read = [
            [item.assets[key] for key in sorted(item.assets) if key in ASSETS] for item in items
        ]
        said = iter(stamps([href for hrefs in read for href in hrefs], self._config.path))
        return tuple(
            _digest_of_text(
                item.identity.path,
                canonical_json([item.identity.sha256, *islice(said, len(hrefs))]),
            )
            for item, hrefs in zip(items, read, strict=True)
        )

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
        path = f"{self._config.path}/collections/{item.collection_id}/items/{item.id}"
        return describe(item, assets, _digest_of_text(path, content))

    def _checked(self, item: pystac.Item, key: str) -> str:
        """Return an asset's address; without https only the API's own host is ever asked."""
        href = item.assets[key].get_absolute_href() or item.assets[key].href
        require_allowed(href, self._config.path, f"item {item.id}: asset {key}")
        return href


def _digest_of_text(path: str, content: bytes) -> FileDigest:
    return FileDigest(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        size=len(content),
    )


class _DigestCache(dict[str, FileDigest]):
    """File digests by path, each read once."""

    def __init__(self, read: Callable[[str], FileDigest]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, href: str) -> FileDigest:
        self[href] = self._read(href)
        return self[href]


REASON_LENGTH: Final = 500
"""Of what the library says, which quotes documents of any length."""

MAX_HREF: Final = 4096
MAX_ITEMS: Final = 100_000
"""Of one search; an API could send further pages for ever."""


@contextlib.contextmanager
def _stac_errors(what: str, advice: str) -> Iterator[None]:
    """Turn what pystac raises where a document is absent or not STAC into a SceneError."""
    from pystac import STACError, STACTypeError

    malformed = (
        ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
        STACError, STACTypeError,
    )  # fmt: skip
    try:
        yield
    except InputError:
        raise
    except (OSError, *malformed) as error:
        # pystac itself says which link it followed, the cause says what was wrong with it.
        reason = unsigned(f"{error} ({error.__cause__})" if error.__cause__ else error)
        reason = textwrap.shorten(reason, REASON_LENGTH)
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
    if len(href) > MAX_HREF:
        raise SceneError(f"{what} points to {len(href)} characters, expected at most {MAX_HREF}")
    if "://" in href or not Path(href).resolve().is_relative_to(folder.resolve()):
        raise SceneError(
            f"{what} points to {href}, outside {folder}; "
            "a static catalogue may only name files below its own folder"
        )
