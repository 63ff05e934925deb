"""A real browser without a window: Debian's chromium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium(*arguments: str, page: Path) -> str:
    """Open a page, and return what the browser prints; skip where there is no browser."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000"]
    done = subprocess.run(
        [*command, *arguments, page.as_uri()], capture_output=True, text=True, timeout=400
    )
    return done.stdout


def screenshot(page: Path, picture: Path, width: int, height: int) -> bytes:
    """Return a picture of a page as PNG."""
    chromium(f"--window-size={width},{height}", f"--screenshot={picture}", page=page)
    return picture.read_bytes()
