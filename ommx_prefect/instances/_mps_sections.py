"""Find the sections of an MPS file and their lines, to check what its readers ignore."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ommx_prefect.instances._terms import Ints

# A header that stands alone in its line, and one that a word may follow: `OBJSENSE MAX`.
_ALONE = frozenset({b"ROWS", b"COLUMNS", b"RHS", b"RANGES", b"BOUNDS", b"QUADOBJ", b"QMATRIX"})
_WITH_A_WORD = frozenset({b"OBJSENSE", b"QCMATRIX"})
# With a letter first in the line; so that it begins with a fixed one, the search is quick.
_HEADER = re.compile(rb"\n([A-Z]+)([^\n]*)")
_NEW_LINE, _LAST_BLANK = 10, 32


@dataclass(frozen=True)
class Section:
    """A section: where its header's line ends, and where the section, in the file's content."""

    name: str
    start: int
    end: int
    content: bytes

    @property
    def line(self) -> int:
        """The number of its header's line."""
        return self.content.count(b"\n", 0, self.start) + 1

    @cached_property
    def body(self) -> bytes:
        """What follows the header, up to the next one."""
        return self.content[self.start : self.end]

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
    headers = list(_HEADER.finditer(content))
    ends = [found.start() for found in headers[1:]] + [len(content)]
    sections = []
    for found, end in zip(headers, ends, strict=False):  # one end where there is no header
        name, tail = found.groups()
        if name == b"ENDATA" and not tail.strip():
            break
        is_alone, is_word = not tail.strip(), tail[:1] in (b"", b" ", b"\t", b"\r")
        if (name in _ALONE and is_alone) or (name in _WITH_A_WORD and is_word):
            sections.append(Section(name.decode(), found.end(), end, content))
    return sections
