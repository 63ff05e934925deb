"""Print a table, laid out for a wide terminal, a narrow one, or a pipe.

| where | how |
|---|---|
| a terminal that is wide enough | in columns; sentences wrap, words and numbers never do |
| a narrower one | row by row: `title value` in lines that break between two of them |
| a pipe, a mail of cron | as wide as it needs; a cell has lines of 60 letters |
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ommx_prefect._values.display import for_terminal
from ommx_prefect.cli._output import STYLES, console, plain, say, shown_value

# Where output is no terminal a cell has lines of so many letters, unless it stands under a heading
# of what people copy.
CELL_WIDTH = 60
COPIED = frozenset({"id", "image", "flow run"})
# Under these headings a word has a colour.
COLOURED = frozenset({"status", "kind", "outcome", "outcome now", "verdict", "done", "flags"})
# Significant digits of a number: under these headings, which are compared, and under all others.
EXACT = frozenset({"objective", "objective now", "dual bound", "value", "old", "new"})
DIGITS, FEW_DIGITS = 12, 4
# Between two columns, and before what goes on in the next line.
GAP = "  "
# A column is not made narrower than this, and only one with a sentence in it is.
SENTENCE_WIDTH = 24


def print_table(
    titles: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    right: Collection[str] = (),
) -> None:
    """Print a table.

    Args:
        titles: The headings.
        rows: The cells: numbers, texts, None.
        title: What stands above it.
        right: The headings that stand to the right, besides those of numbers.
    """
    shown = [[plain(each) for each in row] for row in rows]
    numbers = {name for x, name in enumerate(titles) if _is_number([row[x] for row in shown])}
    cells = [list(map(_cell, row, titles)) for row in shown]
    if title:
        say(title, "bold")
    if not sys.stdout.isatty():
        console().print(_grid(titles, cells, numbers | set(right), {}))
        return
    titles, cells = _filled(titles, cells)
    widths = _widths(titles, cells, console().width)
    if widths:
        console().print(_grid(titles, cells, numbers | set(right), widths))
        return
    for line in _lines(titles, cells, console().width):
        console().print(line, soft_wrap=True)


def _cell(value: Any, heading: str) -> Text:
    """Return a value as the text of a cell, in the colour of its word."""
    shown = shown_value(value, DIGITS if heading in EXACT else FEW_DIGITS)
    return Text(for_terminal(shown), STYLES.get(shown, "") if heading in COLOURED else "")


def _is_number(values: Iterable[Any]) -> bool:
    """Tell whether a column holds numbers alone."""
    known = [x for x in values if x not in (None, "")]
    return bool(known) and all(
        isinstance(x, (int, float)) and not isinstance(x, bool) for x in known
    )


def _filled(
    titles: Sequence[str], cells: list[list[Text]]
) -> tuple[Sequence[str], list[list[Text]]]:
    """Leave out the columns in which no row has anything."""
    kept = [x for x in range(len(titles)) if not cells or any(row[x].plain for row in cells)]
    if not kept:
        return titles, cells
    return [titles[x] for x in kept], [[row[x] for x in kept] for row in cells]


def _widths(titles: Sequence[str], cells: list[list[Text]], room: int) -> dict[str, int]:
    """Return how wide each column is in a terminal; empty where they have no room beside another.

    Only what wraps between words, headings and sentences, becomes narrower than it is.
    """
    room -= len(GAP) * len(titles)  # rich 13 counts the edge that it leaves out
    columns = {name: [row[x] for row in cells] for x, name in enumerate(titles)}
    least = {name: _least(name, column) for name, column in columns.items()}
    widths = {
        name: max(len(name), *(cell.cell_len for cell in column), least[name])
        for name, column in columns.items()
    }
    while sum(widths.values()) > room:
        widest = max(widths, key=lambda name: widths[name] - least[name])
        if widths[widest] <= least[widest]:
            return {}
        widths[widest] -= 1
    return widths


def _least(heading: str, column: Iterable[Text]) -> int:
    least = max(map(len, heading.split()))
    for cell in column:
        is_sentence = " " in cell.plain and heading not in COPIED
        least = max(least, min(cell.cell_len, SENTENCE_WIDTH) if is_sentence else cell.cell_len)
    return least


def _grid(
    titles: Sequence[str], cells: list[list[Text]], right: Collection[str], widths: dict[str, int]
) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in titles:
        table.add_column(
            name,
            overflow="fold",
            justify="right" if name in right else "left",
            width=widths.get(name),
            max_width=None if name in COPIED or widths else CELL_WIDTH,
        )
    for row in cells:
        table.add_row(*row)
    return table


def _lines(titles: Sequence[str], cells: list[list[Text]], room: int) -> Iterator[Text]:
    """Yield the rows in lines, each with the names of its values."""
    for head, *others in cells:
        line = head if titles[0] in COPIED else _titled(titles[0], head)
        for name, cell in zip(titles[1:], others, strict=True):
            pair = _titled(name, cell)
            if not cell.plain:
                continue
            if line is head or line.cell_len + len(GAP) + pair.cell_len > room:
                yield line
                line = Text()
            line = line + Text(GAP) + pair
        yield line


def _titled(heading: str, cell: Text) -> Text:
    return Text(f"{heading} ", "dim") + cell
