"""A STAC API on this machine: the items of a static catalogue, searched and served over HTTP."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

CONFORMANCE = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/item-search",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
)
GEOJSON = "application/geo+json"
PAGE_SIZE = 4
"""Small, so that a search has several pages."""

Document = dict[str, Any]


@contextmanager
def stac_api(
    folder: Path, alter: Callable[[Document], Document] = lambda item: item, further: str = ""
) -> Iterator[str]:
    """Serve a catalogue folder; yields the address of the API's first page.

    Args:
        folder: A static catalogue; its rasters are served below ``/assets/``.
        alter: Changes each item as it is sent.
        further: Address of further pages; empty = this API's own.
    """
    members = {"folder": folder, "alter": staticmethod(alter), "further": further}
    handler = type("Handler", (_Handler,), members)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    alter: Callable[[Document], Document]
    further: str
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms for the end of its headers

    @property
    def _base(self) -> str:
        return f"http://{self.headers['Host']}"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/":
            self._send_json(self._landing_page())
        elif address.path == "/collections":
            self._send_json({"collections": self._collections(), "links": []})
        elif address.path.startswith("/collections/"):
            name = address.path.rpartition("/")[2]
            self._send_json(next(c for c in self._collections() if c["id"] == name))
        elif address.path == "/search":
            asked = {key: values[0] for key, values in parse_qs(address.query).items()}
            box = [float(edge) for edge in asked.get("bbox", "").split(",") if edge]
            names = asked["collections"].split(",")
            self._send_page({**asked, "bbox": box, "collections": names})
        elif address.path.startswith("/assets/"):
            self._send_file(self.folder / address.path.removeprefix("/assets/"))
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self._send_page(json.loads(self.rfile.read(length)))

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay silent."""

    def _landing_page(self) -> Document:
        search = {"rel": "search", "href": f"{self._base}/search", "type": GEOJSON}
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "served",
            "description": "served",
            "conformsTo": list(CONFORMANCE),
            "links": [
                {"rel": "self", "href": f"{self._base}/"},
                {"rel": "root", "href": f"{self._base}/"},
                {"rel": "data", "href": f"{self._base}/collections"},
                {**search, "method": "GET"},
                {**search, "method": "POST"},
            ],
        }

    def _collections(self) -> list[Document]:
        documents = [json.loads(p.read_bytes()) for p in self.folder.glob("*/collection.json")]
        return [{**document, "links": []} for document in documents]

    def _send_page(self, asked: Document) -> None:
        """Send the items that a search finds, a page at a time."""
        start = int(asked.get("token", 0))
        found = [item for item in self._items() if _matches(item, asked)]
        page = found[start : start + PAGE_SIZE]
        following = {**asked, "token": str(start + PAGE_SIZE)}
        link = {
            "rel": "next",
            "href": self.further or f"{self._base}/search",
            "method": "POST",
            "body": following,
        }
        links = [link] if start + PAGE_SIZE < len(found) else []
        features = [self.alter(item) for item in page]
        self._send_json({"type": "FeatureCollection", "features": features, "links": links})

    def _items(self) -> Iterator[Document]:
        """Yield all items, newest first, as the large providers do."""
        paths = self.folder.glob("*/*/*.json")
        items = [(path, json.loads(path.read_bytes())) for path in paths]
        for path, item in sorted(items, key=lambda p: p[1]["properties"]["datetime"], reverse=True):
            place = path.parent.relative_to(self.folder).as_posix()
            assets = {
                key: {**asset, "href": f"{self._base}/assets/{place}/{Path(asset['href']).name}"}
                for key, asset in item["assets"].items()
            }
            own = f"{self._base}/collections/{item['collection']}/items/{item['id']}"
            yield {**item, "assets": assets, "links": [{"rel": "self", "href": own}]}

    def _send_json(self, document: Document) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _send_file(self, path: Path) -> None:
        """Send a file or the range of it that was asked for, as object stores do."""
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        tag = {"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._send(200, content, {"Accept-Ranges": "bytes", **tag})
            return
        first = int(asked[1])
        last = min(int(asked[2] or len(content)), len(content) - 1)
        place = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], {"Content-Range": place, **tag})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _matches(item: Document, asked: Document) -> bool:
    """Return whether a search for collections, area and time finds an item."""
    first, _, last = asked["datetime"].partition("/")
    acquired = datetime.fromisoformat(item["properties"]["datetime"])
    west, south, east, north = item["bbox"]
    box = asked["bbox"]
    return (
        item["collection"] in asked["collections"]
        and datetime.fromisoformat(first) <= acquired <= datetime.fromisoformat(last)
        and (west < box[2] and box[0] < east and south < box[3] and box[1] < north)
    )
