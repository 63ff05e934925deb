"""Pages of artifacts as Prefect's two UIs render them in a real browser."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.support.browser import Tab

# UI -> where it shows an artifact, below the server's address.
PLACES = {"v1": "artifacts/artifact", "v2": "v2/artifacts/artifact"}
# Where pictures are kept, for the documents; otherwise they go with the test.
KEEP = os.environ.get("OMMX_PREFECT_PICTURES")
DOCUMENTED = ("night-red-v2", "runs-v2")
DRAWN = (
    "[...document.images].filter(x => x.src.startsWith('data:image/png') && x.naturalWidth > 300)"
)
CELLS = "[...document.querySelectorAll('td, [role=cell]')].map(x => x.innerText.trim())"


@dataclass(frozen=True)
class Gallery:
    """A browser before a server, and where its pictures go."""

    tab: Tab
    server: str
    folder: Path

    def show(self, ui: str, artifact_id: UUID, text: str) -> None:
        """Open an artifact in a UI, and wait until a text of it is to be read."""
        root = self.server.removesuffix("/api")
        self.tab.open(f"{root}/{PLACES[ui]}/{artifact_id}")
        self.tab.shows(text)

    def leads(self, title: str, ui: str, text: str) -> bool:
        """Follow a link of the page; tell whether it stays in its UI, and wait for a text there."""
        found = f"[...document.links].find(x => x.innerText === {json.dumps(title)})"
        address = str(self.tab.until(f"({found} || {{}}).href"))
        page, path = self.tab.value("location.href"), PLACES[ui].partition("artifacts/")[0]
        self.tab.open(address)
        self.tab.shows(text)
        self.tab.open(page)
        return address.startswith(f"{self.server.removesuffix('/api')}/{path}runs/")

    def text(self) -> str:
        """Return what is to be read."""
        return str(self.tab.value("document.body.innerText"))

    def cells(self) -> Sequence[str]:
        """Return what stands in the cells of tables, once there are any."""
        found: Sequence[str] = self.tab.until(CELLS)
        return found

    def pictures(self) -> Sequence[str]:
        """Return the titles of the pictures that are drawn, once there are any."""
        found: Sequence[str] = self.tab.until(f"{DRAWN}.map(x => x.alt)")
        return found

    def keep(self, name: str, height: int = 900) -> bytes:
        """Photograph what is to be seen."""
        folder = Path(KEEP) if KEEP and name in DOCUMENTED else self.folder
        return self.tab.photograph(folder / f"{name}.png", height)
