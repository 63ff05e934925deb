"""Escape texts for terminals and for markdown, since names and reasons may hold anything.

| function | for | what it makes harmless |
|---|---|---|
| `for_terminal` | logs, the command line | control characters, ESC, newlines, bidirectional marks |
| `for_markdown` | artifacts of Prefect's UI | these, and HTML, links, pipes, backticks, emphasis |
| `as_code` | the same, as code | these; what stands in it is shown as it is |
"""

from __future__ import annotations

# Of a longer text the beginning is shown.
LONGEST = 1_000
# What begins markup somewhere in CommonMark, in GFM's tables and links, or in HTML.
# A dot makes a link of www.example. Dashes and digits begin lists at the start of a line only,
# where no text of others stands.
MARKUP = frozenset("\\`*_[]<>#|&~:@$.")


def for_terminal(text: object, longest: int = LONGEST) -> str:
    """Return a text on one line without control characters."""
    shown = str(text)
    if len(shown) > longest:
        shown = shown[: longest - 1] + "…"
    return shown if shown.isprintable() else "".join(map(_printable, shown))


def for_markdown(text: object, longest: int = LONGEST) -> str:
    """Return a text escaped for markdown, also for a cell of a table.

    With backslashes: the V1 UI of Prefect 3.9.1 shows character references, `&#58;`, as they are.
    """
    return "".join(f"\\{x}" if x in MARKUP else x for x in for_terminal(text, longest))


def as_code(text: object, longest: int = LONGEST) -> str:
    """Return a text as markdown's inline code; a pipe or a backtick makes it plain text."""
    shown = for_terminal(text, longest)
    return for_markdown(shown) if {"`", "|"} & set(shown) or not shown.strip() else f"`{shown}`"


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
