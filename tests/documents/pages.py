"""What a page of the documents holds: its blocks of code, its links, and its headings.

A block is run as it stands, unless a comment on the line before it says why not:

    <!-- not run: it needs a Dask cluster -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What is said on the line before a block that no test runs.
NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->")
# Says on a page that `ghcr.io` stands for a real registry on this machine while it is tested.
NEEDS_REGISTRY = "<!-- tests: ghcr.io is a registry on 127.0.0.1 -->"
_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of code: its language, its text, its first line, and why it is not run."""

    language: str
    code: str
    line: int
    not_run: str


@dataclass(frozen=True)
class Page:
    """One markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _FENCE.sub("", self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        return [self._block(found) for found in _FENCE.finditer(self.text)]

    def _block(self, found: re.Match[str]) -> Block:
        before = self.text[: found.start()].rstrip("\n").rpartition("\n")[2]
        why = NOT_RUN.fullmatch(before)
        line = self.text.count("\n", 0, found.start(2)) + 1
        return Block(found[1], found[2], line, why[1] if why else "")

    @property
    def links(self) -> list[str]:
        """Targets of its links, as they are written."""
        return _LINK.findall(self.prose)

    @cached_property
    def anchors(self) -> set[str]:
        """The names of its headings, as the site makes them."""
        return {slug(heading) for heading in HEADING.findall(self.prose)}

    def table_below(self, heading: str) -> list[list[str]]:
        """Return the rows of the first table below a heading, cell by cell, without its title."""
        _, found, below = self.text.partition(f"\n{heading}\n")
        assert found, f"{self.name} has no heading {heading!r}"
        rows = re.search(r"(?:^\|.*\|\n)+", below, re.MULTILINE)
        assert rows, f"no table below {heading!r} in {self.name}"
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in rows[0].splitlines()[2:]]
        return [[cell.strip() for cell in row] for row in cells]


def slug(heading: str) -> str:
    """Write a heading as MkDocs writes its anchor."""
    plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)


def page(name: str) -> Page:
    """Return a page by its path in the repository."""
    return Page(ROOT / name)


PAGES = [
    Page(path) for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
]
