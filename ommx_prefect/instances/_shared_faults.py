"""Find what two readers are known to read alike and otherwise than the format says.

Where they agree on such a file nothing is confirmed: the agreement needs another reader. Nothing of
a model is read from here.

| in an MPS file | how | who |
|---|---|---|
| two sets of RHS, RANGES or BOUNDS | both are taken, though a model has one | HiGHS, OMMX |
| RANGES before RHS, a section twice | a range counts from 0; the last section wins | HiGHS, OMMX |
| `1,5` or `0x10` where a number stands | as far as C takes it for one: 1, 0 | HiGHS, SCIP |
| a word too many | it is passed over, or taken for a number, 0 | HiGHS, SCIP |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_HEADERS = ("ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS")
_BLANK = re.compile(rb"[ \t\r]*(\n|\Z)")
_NEXT_HEADER = re.compile(rb"^[A-Z]", re.MULTILINE)
# The word that names the set, where each line has one: quick to collect.
_SECOND_WORDS = re.compile(rb"^[ \t]+[A-Z]{2}[ \t]+(\S+)", re.MULTILINE)
_FIRST_WORDS = re.compile(rb"^[ \t]+(\S+)", re.MULTILINE)
# The bounds that have no number.
_WITHOUT_NUMBER = frozenset({b"FR", b"MI", b"PL", b"BV"})
_NUMBER = re.compile(
    rb"[+-]?((\d+\.?\d*|\.\d+)([ed][+-]?\d+)?|inf|infinity|nan|1\.#inf)", re.IGNORECASE
)
# Where numbers stand in a line of so many words, if no name has a blank.
_OF_COLUMNS = {3: (2,), 5: (2, 4)}
_OF_ROWS = {2: (1,), 3: (2,), 4: (1, 3), 5: (2, 4)}
_OF_BOUNDS = {3: (2,), 4: (3,)}
_OF_BOUNDS_WITHOUT = {2: (), 3: (), 4: ()}
# PuLP writes so what OBJSENSE is for, unless it is told to write that.
_SENSE_COMMENT = re.compile(rb"(\*[^\n]*\n)*?\*\s*SENSE\s*:\s*MAX", re.IGNORECASE)


@dataclass(frozen=True)
class Doubt:
    """Something that these readers may read alike and wrong."""

    readers: frozenset[str]
    reason: str


def shared_doubts(
    path: Path, suffix: str, unread: frozenset[str], *, has_blanks: bool
) -> tuple[Doubt, ...]:
    """Return why the agreement of two readers says nothing of this file.

    Args:
        path: A plain file.
        suffix: Its format. Of LP files none is known.
        unread: The readers that do not take it. OMMX's loader takes no number that is none.
        has_blanks: Whether a name has a blank, as in the fixed form; words are not told then.
    """
    if suffix != ".mps":
        return ()
    sections = list(_sections(path.read_bytes()))
    reasons = [] if "ommx" in unread else [*_out_of_order(sections), *_several_sets(sections)]
    doubts = [Doubt(frozenset({"highs", "ommx"}), reason) for reason in reasons]
    if "ommx" in unread and (found := _odd_line(sections, has_blanks=has_blanks)):
        doubts.append(Doubt(frozenset({"highs", "scip"}), found))
    return tuple(doubts)


def says_maximise(path: Path) -> bool:
    """Tell whether a comment at the beginning says that the model is maximised."""
    with path.open("rb") as file:
        return bool(_SENSE_COMMENT.match(file.read(4096)))


@dataclass(frozen=True)
class _Section:
    """A section, where its header ends in the file's content, and what stands in it."""

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
            words = line.split()
            comment = next((at for at, word in enumerate(words) if word[:1] == b"$"), None)
            if words and line[:1] != b"*" and comment != 0:
                yield number, words[:comment]


def _sections(content: bytes) -> list[_Section]:
    end = next(_headers(content, "ENDATA"), len(content))
    found = [
        _Section(name, start, content)
        for name in _HEADERS
        for start in _headers(content, name)
        if start < end
    ]
    return sorted(found, key=lambda section: section.start)


def _headers(content: bytes, name: str) -> Iterator[int]:
    """Yield where a header ends that stands alone in its line."""
    word = b"\n" + name.encode()
    at = content.find(word)
    while at >= 0:
        at += len(word)
        if _BLANK.match(content, at):
            yield at
        at = content.find(word, at)


def _out_of_order(sections: list[_Section]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for section in sections:
        if section.name in seen:
            yield f"the section {section.name} (line {section.line}) stands there twice"
        if section.name == "RHS" and "RANGES" in seen:
            yield f"RANGES (line {seen['RANGES']}) stand before RHS, which they count from"
        seen[section.name] = section.line


def _several_sets(sections: list[_Section]) -> Iterator[str]:
    for section in sections:
        if section.name in ("RHS", "RANGES", "BOUNDS"):
            sets = list(dict.fromkeys(_sets(section)))
            if len(sets) > 1:
                names = ", ".join(each.decode(errors="replace") for each in sets[:3])
                yield f"the section {section.name} has {len(sets)} sets ({names}); a model has one"


def _sets(section: _Section) -> Iterator[bytes]:
    """Yield the name of the set of each line that has one."""
    words_there = _SECOND_WORDS if section.name == "BOUNDS" else _FIRST_WORDS
    if len(set(words_there.findall(section.body))) < 2:
        return
    for _, words in section.lines():
        if section.name != "BOUNDS":
            named = len(words) % 2 == 1
        else:
            named = len(words) == (3 if words[0] in _WITHOUT_NUMBER else 4)
        if named:
            yield words[1] if section.name == "BOUNDS" else words[0]


def _odd_line(sections: list[_Section], *, has_blanks: bool) -> str:
    """Say which line has a word too many, or one that is no number."""
    for section in sections:
        for number, words in section.lines() if section.name != "ROWS" else ():
            if b"'MARKER'" in words:
                continue
            places = _places(section, words, has_blanks=has_blanks)
            if places is None:
                return f"{len(words)} words are no line of {section.name} (line {number})"
            for word in (words[place] for place in places):
                if not _NUMBER.fullmatch(word):
                    return f"{word.decode(errors='replace')!r} is no number (line {number})"
    return ""


def _places(section: _Section, words: list[bytes], *, has_blanks: bool) -> tuple[int, ...] | None:
    """Return where numbers stand in a line; None if no line has so many words."""
    is_without = section.name == "BOUNDS" and words[0] in _WITHOUT_NUMBER
    if has_blanks:
        return () if is_without else (-1,)
    if section.name == "BOUNDS":
        return (_OF_BOUNDS_WITHOUT if is_without else _OF_BOUNDS).get(len(words))
    return (_OF_COLUMNS if section.name == "COLUMNS" else _OF_ROWS).get(len(words))
