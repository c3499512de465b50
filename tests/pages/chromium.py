"""Headless Chromium over its debugging protocol: open a page, wait for it, ask it, picture it."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
START_S, ANSWER_S, PAGE_S = 60.0, 60.0, 60.0
POLL_S = 0.2
WIDTH, HEIGHT = 1440, 900
MAX_MESSAGE = 64 * 2**20
"""Bytes; a picture of a long page comes as one message."""

TEXT = r"(document.body?.innerText ?? '').replaceAll('\u00a0', ' ')"
"""What a page shows; MLflow puts spaces that do not break before aliases."""


def find_chromium() -> str | None:
    """Return the path of a browser, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._sent = 0

    def open(self, address: str) -> None:
        """Start to load a page; a page that only differs after ``#`` is loaded anew too."""
        self._ask("Page.navigate", url="about:blank")
        self._ask("Page.navigate", url=address)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in pixels."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script!r} failed in the page: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, script: str, limit_s: float = PAGE_S) -> Any:
        """Return the first true value of an expression.

        Raises:
            TimeoutError: It stayed false; the message ends with what the page shows.
        """
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if value := self.evaluate(script):
                return value
            time.sleep(POLL_S)
        raise TimeoutError(f"{script!r} was not true within {limit_s} s; page: {self.text[-2000:]}")

    def wait_for_text(self, *words: str) -> None:
        """Wait until the page shows all of the words."""
        for word in words:
            self.wait_for(f"({TEXT}).includes({json.dumps(word)})")

    @property
    def text(self) -> str:
        """What a reader sees."""
        return str(self.evaluate(TEXT))

    def picture(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        answer = self._ask("Page.captureScreenshot", format="png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        self._connection.send(
            json.dumps({"id": self._sent, "method": method, "params": parameters})
        )
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            message = json.loads(self._connection.recv(timeout=ANSWER_S))
            if message.get("id") == self._sent:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
        raise TimeoutError(f"the browser did not answer {method} within {ANSWER_S} s")


@contextmanager
def browse(program: str) -> Iterator[Page]:
    """Yield a tab of a browser with a profile of its own, and end the browser afterwards."""
    with tempfile.TemporaryDirectory(prefix="chromium.", ignore_cleanup_errors=True) as profile:
        # Chromium refuses its sandbox to root; containers have no other user.
        root_only = ["--no-sandbox"] if os.getuid() == 0 else []
        process = subprocess.Popen(
            [
                program, "--headless=new", "--remote-debugging-port=0", "--disable-gpu",
                "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
                "--disable-background-networking", "--no-proxy-server",
                f"--user-data-dir={profile}", *root_only, "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            address = _tab_address(Path(profile) / "DevToolsActivePort", process)
            with connect(address, max_size=MAX_MESSAGE, proxy=None) as connection:
                page = Page(connection)
                page.resize(WIDTH, HEIGHT)
                yield page
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=20)


def _tab_address(port_file: Path, process: "subprocess.Popen[bytes]") -> str:
    """Return where the first tab listens, once the browser has written its port."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if port_file.is_file() and (lines := port_file.read_text().splitlines()):
            with opener.open(f"http://127.0.0.1:{lines[0]}/json/list", timeout=START_S) as answer:
                tabs = [one for one in json.load(answer) if one["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(POLL_S)
    raise TimeoutError(f"Chromium did not start within {START_S} s (exit {process.poll()})")
