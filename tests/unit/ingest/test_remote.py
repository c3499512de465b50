"""Rasters at addresses: only the API's own host and https are asked, and faults are named."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from tessera_core.errors import SceneError
from tessera_core.ingest.catalogue import ApiCatalogue
from tessera_core.ingest.rasters import read_onto_grid
from tessera_core.ingest.remote import BLOCK_BYTES, GuardedSession, unsigned
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.settings import ingest_settings
from tessera_core.testing.tiles import make_grid
from tests.unit.ingest.served import stac_api

GRID = make_grid(west=500_000, north=5_600_000, width=600, height=600)
VALUES = np.random.default_rng(3).integers(1, 9000, (600, 600)).astype(np.uint16)
PART = make_grid(west=500_000, north=5_600_000 - 5_000, width=40, height=40)

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """Reach this machine directly, also where the environment names a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A GeoTIFF of several blocks."""
    path = tmp_path_factory.mktemp("raster") / "x.tif"
    write_raster(path, VALUES, GRID, nodata=0)
    assert path.stat().st_size > 2 * BLOCK_BYTES
    return path.read_bytes()


@contextmanager
def host(answer: Callable[[int, int, int], Answer]) -> Iterator[tuple[str, list[str]]]:
    """Serve what a function of the request's number, first and last byte returns.

    Yields the address, and the paths that were asked so far.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            place = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "bytes=0-0"))
            status, headers, body = answer(len(asked), int(place[1]), int(place[2]))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def ranges(content: bytes) -> Callable[[int, int, int], Answer]:
    """Answer as object stores do."""

    def answer(number: int, first: int, last: int) -> Answer:
        part = content[first : last + 1]
        place = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        return 206, {"Content-Range": place, "ETag": '"1"'}, part

    return answer


def read(address: str, api: str | None = None, grid=PART):
    href = f"{address}/x.tif?key=1"
    return read_onto_grid(href, grid, resampling="nearest", nodata=0, api=api or f"{address}/stac")


def test_a_part_of_a_raster_is_fetched_and_not_the_whole(content):
    with host(ranges(content)) as (address, asked):
        values = read(address)

    assert np.array_equal(values, VALUES[500:540, :40])
    assert len(asked) < len(content) / BLOCK_BYTES


def test_a_redirection_within_the_own_host_is_followed(content):
    def answer(number: int, first: int, last: int) -> Answer:
        if number == 1:
            return 302, {"Location": "/elsewhere.tif"}, b""
        return ranges(content)(number, first, last)

    with host(answer) as (address, asked):
        assert read(address).any()
    assert asked[:2] == ["/x.tif?key=1", "/elsewhere.tif"]


@pytest.mark.parametrize("target", ["{}/x.tif", "file:///etc/passwd", "ftp://127.0.0.1:9/x.tif"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_redirection_elsewhere_is_not_followed(content, target, number):
    with host(ranges(content)) as (inner, asked):

        def answer(count: int, first: int, last: int) -> Answer:
            if count == number:
                return 302, {"Location": target.format(inner)}, b""
            return ranges(content)(count, first, last)

        with (
            host(answer) as (address, _),
            pytest.raises(SceneError, match=r"points to \S+; expected an https address or one of"),
        ):
            read(address)
    assert not asked


def test_an_api_that_redirects_elsewhere_is_not_followed(content):
    with (
        host(ranges(content)) as (inner, asked),
        host(lambda *_: (302, {"Location": f"{inner}/"}, b"")) as (address, _),
        pytest.raises(SceneError, match=rf"did not answer: .* points to {inner}/; expected an htt"),
    ):
        ApiCatalogue(ingest_settings(path=address, bbox=(0, 0, 1, 1), year=2022)).items("x")
    assert not asked


def test_further_pages_elsewhere_are_not_asked(content, pristine_scenes):
    with (
        host(ranges(content)) as (inner, asked),
        stac_api(pristine_scenes / "scenes", further=f"{inner}/search") as address,
    ):
        config = ingest_settings(path=address, bbox=(0.0, 0.0, 90.0, 90.0), year=2022)
        with pytest.raises(SceneError, match=rf"points to {inner}/search; expected an https addr"):
            ApiCatalogue(config).items("sentinel-1-rtc")
    assert not asked


def test_a_circle_of_redirections_ends():
    with (
        host(lambda *_: (302, {"Location": "/x.tif"}, b"")) as (address, asked),
        pytest.raises(SceneError, match=r"cannot read .*Exceeded 5 redirects"),
    ):
        read(address)
    assert len(asked) == 6


@pytest.mark.parametrize(
    "href", ["http://169.254.169.254/latest", "file:///etc/passwd", "ftp://h/"]
)
def test_a_session_asks_no_other_host_without_https(href):
    with pytest.raises((SceneError, OSError), match=r"points to|No connection adapters"):
        GuardedSession("http://127.0.0.1:9/").get(href)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ranges(b"<VRTDataset/>"), r"it begins with b'<VRTDataset/', so it is truncated or not a"),
        (lambda *_: (200, {}, b"II*\0"), r"it answers 200 OK to a request for a part of it"),
        (lambda *_: (404, {}, b""), r"it answers 404 Not Found to a request for a part"),
        (lambda *_: (503, {"Retry-After": "99999"}, b""), r"it answers 503 Service Unavailable"),
        (
            lambda *_: (206, {"Content-Range": "bytes 0-3/9000000000"}, b"II*\0"),
            r"it sent 4 bytes as 'bytes 0-3/9000000000', expected 262144 from 0 on",
        ),
        (
            lambda *_: (206, {"Content-Range": "bytes 0-9/10", "Content-Length": "10"}, b"II*\0"),
            r"cannot read \S+: .*(IncompleteRead|sent 4 bytes)",
        ),
    ],
)
def test_an_answer_that_is_no_raster_is_refused(answer, message):
    with host(answer) as (address, _), pytest.raises(SceneError, match=message):
        read(address)


def test_a_raster_that_changes_while_it_is_read_is_refused(content):
    def answer(number: int, first: int, last: int) -> Answer:
        status, headers, body = ranges(content)(number, first, last)
        return status, {**headers, "ETag": f'"{number}"'}, body

    with (
        host(answer) as (address, _),
        pytest.raises(SceneError, match=r"x\.tif changed while it was read; run again"),
    ):
        read(address, grid=GRID)


def test_a_host_that_fails_midway_is_named(content):
    def answer(number: int, first: int, last: int) -> Answer:
        return ranges(content)(number, first, last) if number == 1 else (403, {}, b"")

    with (
        host(answer) as (address, _),
        pytest.raises(SceneError, match=r"cannot read http.*: it answers 403 Forbidden"),
    ):
        read(address, grid=GRID)


@pytest.mark.parametrize("status", [403, 404, 503])
def test_no_refusal_shows_what_an_address_was_signed_with(status):
    def refuse(_number: int, _first: int, _last: int) -> Answer:
        return status, {}, b"no"

    with host(refuse) as (address, _), pytest.raises(SceneError) as refused:
        read_onto_grid(
            f"{address}/B04.tif?se=2026&sig=secret", PART, resampling="nearest", nodata=0,
            api=address,
        )  # fmt: skip

    assert f"{address}/B04.tif" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_host_that_is_gone_is_named_without_its_signature():
    with host(lambda *_: (200, {}, b"")) as (address, _):
        pass
    with pytest.raises(SceneError) as refused:
        read_onto_grid(
            f"{address}/B04.tif?sig=secret", PART, resampling="nearest", nodata=0, api=address
        )

    assert "secret" not in f"{refused.value}{unsigned(refused.value.__cause__)}"
