"""A real browser without a window: Debian's chromium."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_SECONDS = 180
# This machine alone is asked: no page fetches anything from elsewhere.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def program() -> str:
    """Return the browser; skip where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    return found


def chromium(*arguments: str, page: Path) -> str:
    """Open a page, and return what the browser prints; skip where there is no browser."""
    command = [program(), *OPTIONS, "--virtual-time-budget=3000"]
    done = subprocess.run(
        [*command, *arguments, page.as_uri()], capture_output=True, text=True, timeout=400
    )
    return done.stdout


def screenshot(page: Path, picture: Path, width: int, height: int) -> bytes:
    """Return a picture of a page as PNG."""
    chromium(f"--window-size={width},{height}", f"--screenshot={picture}", page=page)
    return picture.read_bytes()


class Tab:
    """A page that stays open, spoken to over the browser's own protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._numbers = connection, itertools.count(1)

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(PATIENCE_SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address: str, *, dark: bool = False) -> None:
        """Go to an address."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._do("Emulation.setEmulatedMedia", features=scheme)
        self._do("Page.navigate", url=address)

    def print_on(self, width: int) -> None:
        """Lay the page out as it is printed on paper so wide, in pixels of 1/96 inch."""
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        self._do("Emulation.setEmulatedMedia", media="print")

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression is in the page."""
        found = self._do("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true in the page, or a list that is not empty.

        Its value comes from the same moment: a page may be drawn anew the moment after.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.value(expression)):
            text = self.value("document.body ? document.body.innerText : ''") or ""
            assert time.monotonic() < deadline, f"not seen: {expression} in\n{text[:3000]}"
            time.sleep(0.2)
        return found

    def shows(self, text: str) -> None:
        """Wait until a text is to be read in the page."""
        self.until(f"document.body && document.body.innerText.includes({json.dumps(text)})")

    def photograph(self, picture: Path, height: int = 900) -> bytes:
        """Return what is to be seen as PNG, and keep it in a file."""
        self._do("Emulation.setDeviceMetricsOverride", **_metrics(height))
        time.sleep(0.5)  # the page lays itself out anew
        data = base64.b64decode(self._do("Page.captureScreenshot", format="png")["data"])
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(data)
        return data


def _metrics(height: int) -> dict[str, Any]:
    return {"width": 1200, "height": height, "deviceScaleFactor": 1, "mobile": False}


@contextlib.contextmanager
def browser_tab(folder: Path) -> Iterator[Tab]:
    """Run the browser with an empty profile in a folder, and open one page."""
    command = [program(), *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "about:blank"], stdout=log, stderr=log)
    try:
        with connect(_address_of_page(folder, process), max_size=None, proxy=None) as connection:
            tab = Tab(connection)
            tab._do("Emulation.setDeviceMetricsOverride", **_metrics(900))
            yield tab
    finally:
        process.terminate()
        process.wait(60)


def _address_of_page(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Return where the one page listens, once the browser has written down its port."""
    written, deadline = folder / "DevToolsActivePort", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, IndexError, httpx.HTTPError, StopIteration):
            port = written.read_text().split()[0]
            pages = httpx.get(f"http://127.0.0.1:{port}/json", timeout=30, trust_env=False).json()
            return next(x["webSocketDebuggerUrl"] for x in pages if x["type"] == "page")
        time.sleep(0.1)
    pytest.fail("chromium did not start:\n" + (folder / "log").read_text(errors="replace"))
