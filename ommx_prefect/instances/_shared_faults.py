"""Find the parts of a file that two readers are known to read alike and wrongly.

Where they agree on such a file nothing is confirmed: the agreement needs another reader. Nothing of
a model is read from here.

| in an MPS file | how | who |
|---|---|---|
| two sets of RHS, RANGES or BOUNDS | both are taken, though a model has one | HiGHS, OMMX |
| RANGES before RHS, a section twice | a range counts from 0; the last section wins | HiGHS, OMMX |
| `1,5` or `0x10` where a number stands | as far as C takes it for one: 1, 0 | HiGHS, SCIP |
| a set that only some lines name | its name is taken for a column | HiGHS, SCIP |
| no header RHS before its lines | they are a column named RHS | HiGHS, OMMX |
| QUADOBJ of a column that is nowhere else | it becomes a column of its own | HiGHS, OMMX |
| a word too many: `UP B x 4 y 5` | it is passed over, or taken for a number, 0 | all three |

In an LP file HiGHS and SCIP both take `(x` for a name in `2 (x + y)`, `x/2` in `x/2 >= 1` and `x;`
in `obj: x;`, for the format allows such names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from ommx_prefect.instances._mps_sections import Section, sections_of
from ommx_prefect.instances._odd_lines import long_line, names_a_set, odd_line, partly_named

# The word that names the set, where each line has one: quick to collect.
_SECOND_WORDS = re.compile(rb"^[ \t]+[A-Z]{2}[ \t]+(\S+)", re.MULTILINE)
_FIRST_WORDS = re.compile(rb"^[ \t]+(\S+)", re.MULTILINE)
_END = b"\nENDATA"
_COLUMN_RHS = re.compile(rb"\n[ \t]+RHS[ \t]", re.IGNORECASE)
# How `x;`, `x,` and `x/2` end, of which LP files make names.
_MORE_THAN_A_NAME = re.compile(r"(.+?)(?:[;,]|/\d[\d.]*)")
# PuLP writes so what OBJSENSE is for, unless it is told to write that.
_SENSE_COMMENT = re.compile(rb"(\*[^\n]*\n)*?\*\s*SENSE\s*:\s*MAX", re.IGNORECASE)


@dataclass(frozen=True)
class Doubt:
    """Something that these readers may read alike and wrong."""

    readers: frozenset[str]
    reason: str


def shared_doubts(
    path: Path, suffix: str, unread: frozenset[str], names: Iterable[str]
) -> tuple[Doubt, ...]:
    """Return why the agreement of two readers says nothing of this file.

    Args:
        path: A plain file.
        suffix: Its format.
        unread: The readers that do not take it. OMMX's loader takes no number that is none.
        names: The names that the others give.
    """
    if suffix != ".mps":
        return tuple(_doubts(("highs", "scip"), _no_names(list(names))))
    if "ommx" not in unread:
        return doubts_beside_ommx(path)
    sections = sections_of(path.read_bytes())
    has_blanks = any(" " in name for name in names)
    found = odd_line(sections, has_blanks=has_blanks)
    mixed = [] if found or has_blanks else partly_named(sections)
    return tuple(_doubts(("highs", "scip"), [found, *mixed]))


def doubts_beside_ommx(path: Path) -> tuple[Doubt, ...]:
    """Return why the agreement of two readers says nothing of an MPS file that OMMX's takes."""
    sections = sections_of(path.read_bytes())
    return (
        *_doubts(("highs", "ommx"), _out_of_order(sections)),
        *_doubts(("highs", "ommx"), _several_sets(sections)),
        *_doubts(("highs", "ommx"), _unknown_in_quadobj(sections)),
        *_doubts(("highs", "ommx"), _without_rhs(sections)),
        *_doubts(("highs", "ommx", "scip"), [long_line(sections)]),
    )


def _doubts(readers: tuple[str, ...], reasons: Iterable[str]) -> Iterator[Doubt]:
    return (Doubt(frozenset(readers), reason) for reason in reasons if reason)


def says_maximise(path: Path) -> bool:
    """Tell whether a comment at the beginning says that the model is maximised."""
    with path.open("rb") as file:
        return bool(_SENSE_COMMENT.match(file.read(4096)))


def goes_on_after_its_end(path: Path) -> bool:
    """Tell whether more than blanks and comments follow the first ENDATA of an MPS file."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        end = content.find(_END)
        rest = content[end + len(_END) :] if end >= 0 else b""
    return any(line.strip() and line[:1] != b"*" for line in rest.splitlines())


def _no_names(names: Sequence[str]) -> Iterator[str]:
    """Describe a name that is half of `2 (x + y)`, or `x/2` where there is an `x` as well.

    LP files have no parentheses and no division, but names may have such signs.
    """
    name = next((each for each in names if each.count("(") != each.count(")")), None)
    if name is not None:
        yield f"{name!r} is taken for a name, and looks like half of something in parentheses"
    known = set(names)
    for name in names:
        found = _MORE_THAN_A_NAME.fullmatch(name)
        if found and found[1] in known:
            yield f"{name!r} is taken for a name beside {found[1]!r}"
            return


def _out_of_order(sections: list[Section]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for section in sections:
        if section.name in seen and section.name != "QCMATRIX":
            yield f"the section {section.name} (line {section.line}) stands there twice"
        if section.name == "RHS" and "RANGES" in seen:
            yield f"RANGES (line {seen['RANGES']}) stand before RHS, which they count from"
        seen[section.name] = section.line


def _without_rhs(sections: list[Section]) -> Iterator[str]:
    """Describe a column RHS where there is no such section: its header was lost."""
    if all(section.name != "RHS" for section in sections):
        for section in sections:
            if section.name == "COLUMNS" and _COLUMN_RHS.search(section.body):
                yield "RHS is a column in COLUMNS, and there is no section RHS"


def _unknown_in_quadobj(sections: list[Section]) -> Iterator[str]:
    """Describe a column that stands in QUADOBJ alone, as a misspelt one does."""
    body = {section.name: section for section in sections}
    if "QUADOBJ" not in body or "COLUMNS" not in body:
        return
    known = set(_FIRST_WORDS.findall(body["COLUMNS"].body))
    for number, words in body["QUADOBJ"].lines():
        for name in (*words[:2], *words[3:4]):
            if name not in known:
                what = name.decode(errors="replace")
                yield f"column {what} is in QUADOBJ (line {number}), and not in COLUMNS"
                return


def _several_sets(sections: list[Section]) -> Iterator[str]:
    for section in sections:
        if section.name in ("RHS", "RANGES", "BOUNDS"):
            sets = list(dict.fromkeys(_sets(section)))
            if len(sets) > 1:
                names = ", ".join(each.decode(errors="replace") for each in sets[:3])
                yield f"the section {section.name} has {len(sets)} sets ({names}); a model has one"


def _sets(section: Section) -> Iterator[bytes]:
    """Yield the name of the set of each line that has one."""
    words_there = _SECOND_WORDS if section.name == "BOUNDS" else _FIRST_WORDS
    if len(set(words_there.findall(section.body))) < 2:
        return
    for _, words in section.lines():
        if names_a_set(section, words):
            yield words[1] if section.name == "BOUNDS" else words[0]
