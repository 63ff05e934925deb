"""Find the first line of an MPS file of which two readers ignore a part.

A word too many, a name or `1,5` where a number stands, a set that only some lines name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ommx_prefect.instances._mps_sections import Section

# The bounds that have no number.
WITHOUT_NUMBER = frozenset({b"FR", b"MI", b"PL", b"BV"})
# Linear: two runs of digits are never side by side.
_NUMBER = re.compile(rb"[+-]?((\d+(\.\d*)?|\.\d+)([ed][+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE)
# What is shown of a word.
_LONGEST = 100
# Where numbers stand in a line of so many words, if no name has a blank.
_Places = dict[int, tuple[int, ...]]
_OF_PAIRS: _Places = {2: (1,), 3: (2,), 4: (1, 3), 5: (2, 4)}
_PLACES: dict[str, _Places] = {
    "COLUMNS": {3: (2,), 5: (2, 4)},
    "RHS": _OF_PAIRS,
    "RANGES": _OF_PAIRS,
    "BOUNDS": {3: (2,), 4: (3,)},
    "QUADOBJ": {3: (2,), 5: (2, 4)},
    "QMATRIX": {3: (2,), 5: (2, 4)},
    "QCMATRIX": {3: (2,)},
}
_OF_BOUNDS_WITHOUT: _Places = {2: (), 3: (), 4: (3,)}


def long_line(sections: list[Section]) -> str:
    """Describe a line with a word too many, quickly also in large files."""
    for section in sections:
        if section.name in _PLACES:
            begun = b"".join(WITHOUT_NUMBER) if section.name == "BOUNDS" else b""
            for number, words in section.long_lines(max(_PLACES[section.name]), begun):
                if odd := _odd(section, number, words, has_blanks=False):
                    return odd
    return ""


def odd_line(sections: list[Section], *, has_blanks: bool) -> str:
    """Describe a line with a word too many, or with a word where a number must stand."""
    for section in sections:
        for number, words in section.lines() if section.name in _PLACES else ():
            if odd := _odd(section, number, words, has_blanks=has_blanks):
                return odd
    return ""


def partly_named(sections: list[Section]) -> Iterator[str]:
    """Describe a section in which some lines name a set and others do not."""
    for section in sections:
        if section.name in ("RHS", "RANGES", "BOUNDS"):
            named = {names_a_set(section, words) for _, words in section.lines()}
            if len(named) > 1:
                yield f"in the section {section.name} some lines name a set, and others none"


def names_a_set(section: Section, words: list[bytes]) -> bool:
    """Tell whether a line of RHS, RANGES or BOUNDS names the set it belongs to."""
    if section.name != "BOUNDS":
        return len(words) % 2 == 1
    return len(words) >= (3 if words[0] in WITHOUT_NUMBER else 4)


def _odd(section: Section, number: int, words: list[bytes], *, has_blanks: bool) -> str:
    if b"'MARKER'" in words:
        return ""
    places = _places(section, words, has_blanks=has_blanks)
    if places is None:
        return f"{len(words)} words are no line of {section.name} (line {number})"
    wrong = (words[place] for place in places if not _NUMBER.fullmatch(words[place]))
    word = next(wrong, None)
    if word is None:
        return ""
    return f"{word[:_LONGEST].decode(errors='replace')!r} is no number (line {number})"


def _places(section: Section, words: list[bytes], *, has_blanks: bool) -> tuple[int, ...] | None:
    """Return where numbers stand in a line; None if no line has so many words."""
    is_without = section.name == "BOUNDS" and words[0] in WITHOUT_NUMBER
    if has_blanks:
        return () if is_without else (-1,)
    places = _OF_BOUNDS_WITHOUT if is_without else _PLACES[section.name]
    return places.get(len(words))
