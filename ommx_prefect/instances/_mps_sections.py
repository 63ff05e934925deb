"""Find the sections of an MPS file and their lines, to look for what its readers pass over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ommx_prefect.instances._terms import Ints

# A header that stands alone in its line, and one that a word may follow: `OBJSENSE MAX`.
_ALONE = ("ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS", "QUADOBJ", "QMATRIX", "ENDATA")
_WITH_A_WORD = ("OBJSENSE", "QCMATRIX")
_BLANK = re.compile(rb"[ \t\r]*(\n|\Z)")
_WORD = re.compile(rb"[ \t\r]+[^\n]*|(?=\n)")
_NEXT_HEADER = re.compile(rb"^[A-Z]", re.MULTILINE)
_NEW_LINE, _LAST_BLANK = 10, 32


@dataclass(frozen=True)
class Section:
    """A section, where its header's line ends in the file's content, and what stands in it."""

    name: str
    start: int
    content: bytes

    @property
    def line(self) -> int:
        """The number of its header's line."""
        return self.content.count(b"\n", 0, self.start) + 1

    @cached_property
    def body(self) -> bytes:
        """What follows the header, up to the next one."""
        end = _NEXT_HEADER.search(self.content, self.start)
        return self.content[self.start : end.start() if end else None]

    def lines(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield each line's number and words, without those of comments."""
        for number, line in enumerate(self.body.split(b"\n"), self.line):
            if words := _words(line):
                yield number, words

    def long_lines(self, most: int, begun: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
        """Yield lines with more words, quickly also where there are a million lines.

        Args:
            most: So many words a line may have.
            begun: Pairs of letters; a line that begins with one is also yielded with so many.
        """
        text = np.frombuffer(self.body + b"\n", np.uint8)
        ends = np.flatnonzero(text == _NEW_LINE)
        counts, first = _counted(text, ends)
        found = counts > most
        if begun:
            letters = text[first].astype(np.uint16) * 256 + text[np.minimum(first + 1, ends)]
            found |= (counts == most) & np.isin(letters, np.frombuffer(begun, ">u2"))
        for line in np.flatnonzero(found).tolist():
            start = ends[line - 1] + 1 if line else 0
            if words := _words(text[start : ends[line]].tobytes()):
                yield self.line + line, words


def _words(line: bytes) -> list[bytes]:
    words = line.split()
    comment = next((at for at, word in enumerate(words) if word[:1] == b"$"), None)
    return [] if line[:1] == b"*" else words[:comment]


def _counted(text: npt.NDArray[np.uint8], ends: Ints) -> tuple[Ints, Ints]:
    """Return how many words each line has, and where its first one begins."""
    blank = text <= _LAST_BLANK
    before = np.concatenate([[True], blank[:-1]])
    starts = np.flatnonzero(before & ~blank)
    cuts = np.concatenate([[0], np.searchsorted(starts, ends)])
    first = np.append(starts, ends[-1])[cuts[:-1]]
    return np.diff(cuts), np.minimum(first, ends)


def sections_of(content: bytes) -> list[Section]:
    """Return the sections in their order, up to the first end of the model."""
    found = [
        Section(name, start, content)
        for names, tail in ((_ALONE, _BLANK), (_WITH_A_WORD, _WORD))
        for name in names
        for start in _headers(content, name, tail)
    ]
    found.sort(key=lambda section: section.start)
    end = next((at for at, each in enumerate(found) if each.name == "ENDATA"), None)
    return found[:end]


def _headers(content: bytes, name: str, tail: re.Pattern[bytes]) -> Iterator[int]:
    """Yield where the line of a header ends."""
    word = b"\n" + name.encode()
    at = content.find(word)
    while at >= 0:
        at += len(word)
        if found := tail.match(content, at):
            yield at if tail is _BLANK else found.end()
        at = content.find(word, at)
