"""What a STAC API names is read over https, or from the API's own host, and from nowhere else.

Every address is looked at before it is asked, those of redirections and of further pages too: an
item may not have this machine ask an address of its network that only this machine can reach.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tessera_core.errors import SceneError
from tessera_core.records.rasters import driver_of, open_stream

BLOCK_BYTES: Final = 1 << 18
"""What one request asks of a raster: few requests for a header, not much too much for a block."""

KEPT_BLOCKS: Final = 64
TIMEOUT_S: Final = (20, 60)
"""To connect, and between two pieces of an answer."""

MAX_REDIRECTS: Final = 5
NUM_CONNECTIONS: Final = 16
RETRIES: Final = Retry(
    total=3,
    backoff_factor=0.2,
    status_forcelist=(429, 500, 502, 503, 504),
    raise_on_status=False,
    respect_retry_after_header=False,  # it may name any number of hours
)
_SECRET: Final = re.compile(r"(?<=//)[^/@\s]*@|\?[^\s'\"<>)]+")
_PLACE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def unsigned(text: object) -> str:
    """Return a text without what its addresses hold of passwords and signatures, for messages.

    >>> unsigned("cannot read https://me:pw@host/B04.tif?se=2026&sig=abc: gone; is it there?")
    'cannot read https://host/B04.tif: gone; is it there?'
    """
    return _SECRET.sub("", str(text))


class GuardedSession(requests.Session):
    """A session that asks https addresses and one host, also where it is redirected."""

    def __init__(self, own: str) -> None:
        """Take the address of the API, whose host may be asked without https."""
        super().__init__()
        self.own = own
        self.max_redirects = MAX_REDIRECTS
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=NUM_CONNECTIONS, max_retries=RETRIES))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, or a redirected one; raises SceneError where it may not be sent."""
        require_allowed(str(request.url), self.own, "the STAC API or its data")
        options["timeout"] = options.get("timeout") or TIMEOUT_S
        return super().send(request, **options)


def require_allowed(href: str, own: str, what: str) -> None:
    """Refuse an address that is neither https nor of the API's own host.

    Args:
        href: The address.
        own: The API's address.
        what: What names it, for the error.

    Raises:
        SceneError: It is elsewhere.
    """
    ours, address = urlsplit(own), urlsplit(href)
    is_own = (address.scheme, address.netloc) == (ours.scheme, ours.netloc)
    if address.scheme != "https" and not is_own:
        raise SceneError(
            f"{what} points to {unsigned(href)}; expected an https address or "
            f"one of the API's own host, {ours.scheme}://{ours.netloc}"
        )


def stamps(hrefs: Sequence[str], own: str) -> list[str]:
    """Return what hosts say of the content at addresses: size, entity tag and time of change.

    A byte of each is asked, not its head alone, which a signed address may not allow.

    Args:
        hrefs: The addresses.
        own: The address of the API that named them.

    Raises:
        SceneError: One of them cannot be fetched.
    """
    with GuardedSession(own) as session, ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
        return list(pool.map(lambda href: _stamp(session, href), hrefs))


def _stamp(session: GuardedSession, href: str) -> str:
    asked = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
    try:
        with session.get(href, headers=asked, stream=True) as answer:
            _require_part(answer, href)
            return " ".join(map(str, _identity(answer)))
    except (requests.RequestException, OSError) as error:
        raise _unread(href, error) from error


def _unread(href: str, error: Exception) -> SceneError:
    # The library quotes the address it asked.
    return SceneError(f"cannot read {unsigned(href)}: {unsigned(error)}; is the host up?")


def _require_part(answer: requests.Response, href: str) -> re.Match[str]:
    """Return the place of the part that an answer holds; raises SceneError for any other answer."""
    place = _PLACE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status_code != requests.codes.partial_content or place is None:
        raise SceneError(
            f"cannot read {unsigned(href)}: it answers {answer.status_code} {answer.reason} to a "
            "request for a part of it, expected 206 and Content-Range; is the address right, "
            "does it need a signature, does the host serve byte ranges?"
        )
    return place


def _identity(answer: requests.Response) -> tuple[str | None, ...]:
    """Return what tells a file's content from its next: size, entity tag and time of change."""
    headers = answer.headers
    size = headers.get("Content-Range", "").rpartition("/")[2]
    return size, headers.get("ETag"), headers.get("Last-Modified")


@contextlib.contextmanager
def open_remote(href: str, own: str) -> Iterator[Any]:
    """Yield an open raster at an address, of which only the blocks that are read are fetched.

    Args:
        href: Its address.
        own: The address of the API that named it.

    Raises:
        SceneError: It cannot be fetched, is not a GeoTIFF or JPEG 2000 file, or changes meanwhile.
    """
    with _RemoteFile(href, own) as file:
        try:
            name = unsigned(href)
            driver = driver_of(file.block(0)[:16], name)
            with open_stream(name, file.again, driver) as raster:
                yield raster
        except SceneError as error:
            # What GDAL could not say: it saw an end of the file.
            raise file.failure or error from None
        if file.failure is not None:
            raise file.failure


class _RemoteFile:
    """The bytes at an address, fetched by blocks."""

    def __init__(self, href: str, own: str) -> None:
        self.href = href
        self.size = 0
        self.failure: SceneError | None = None
        self._session = GuardedSession(own)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._identity: tuple[str | None, ...] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> _RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def again(self) -> _Reader:
        """Return a reader from the first byte on."""
        return _Reader(self)

    def block(self, number: int) -> bytes:
        """Return a block's bytes, the last of them shorter; raises SceneError."""
        with self._lock:
            if number not in self._blocks:
                self._blocks[number] = self._fetch(number)
                if len(self._blocks) > KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            return self._blocks[number]

    def _fetch(self, number: int) -> bytes:
        first = number * BLOCK_BYTES
        asked = {"Range": f"bytes={first}-{first + BLOCK_BYTES - 1}", "Accept-Encoding": "identity"}
        try:
            with self._session.get(self.href, headers=asked, stream=True) as answer:
                return self._checked(answer, first)
        except (requests.RequestException, OSError) as error:
            raise _unread(self.href, error) from error

    def _checked(self, answer: requests.Response, first: int) -> bytes:
        """Return the part of an answer's content that was asked for."""
        place = _require_part(answer, self.href)
        size = int(place[3])
        expected = min(BLOCK_BYTES, size - first)
        content: bytes = answer.raw.read(expected + 1)
        if int(place[1]) != first or len(content) != expected:
            raise SceneError(
                f"cannot read {unsigned(self.href)}: it sent {len(content)} bytes as {place[0]!r}, "
                f"expected {expected} from {first} on"
            )
        seen = _identity(answer)
        if self._identity not in (None, seen):
            raise SceneError(f"{unsigned(self.href)} changed while it was read; run again")
        self._identity, self.size = seen, size
        return content


class _Reader(io.RawIOBase):
    """A position in a remote file, as GDAL reads it; it keeps what it cannot raise there."""

    def __init__(self, file: _RemoteFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        stop = self._file.size if size < 0 else min(self._position + size, self._file.size)
        parts = []
        while self._position < stop and self._file.failure is None:
            number, start = divmod(self._position, BLOCK_BYTES)
            try:
                part = self._file.block(number)[start : start + stop - self._position]
            except SceneError as error:  # an exception does not pass through GDAL
                self._file.failure = error
                break
            parts.append(part)
            self._position += len(part)
        return b"".join(parts)
