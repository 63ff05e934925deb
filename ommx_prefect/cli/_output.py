"""Print lines and JSON: names, reasons and logs may hold anything, and are shown clean."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from ommx_prefect._values.display import for_terminal

# Where output is no terminal, in a mail of cron or a pipe, a table is as wide as it needs.
PLAIN_WIDTH = 10_000
STYLES = {
    "sealed": "green",
    "sent": "green",
    "finished": "green",
    "optimal": "green",
    "better": "green",
    "would seal": "cyan",
    "would send": "cyan",
    "waits": "yellow",
    "feasible": "yellow",
    "no_solution": "yellow",
    "unsealed": "yellow",
    "draft": "yellow",
    "interrupted": "bold yellow",
    "failed": "bold red",
    "error": "red",
    "worse": "bold red",
    "contradiction": "bold red",
    "degraded": "bold yellow",
}
UNITS = ("B", "kB", "MB", "GB", "TB")
# From how many seconds on an age is told in which unit.
AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (0.0, "s"))


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or as a table needs where there is none."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else PLAIN_WIDTH)


def say(text: object = "", style: str = "") -> None:
    """Print one line, which a pipe does not cut."""
    console().print(Text(for_terminal(text), style), soft_wrap=True, markup=False, highlight=False)


def complain(text: object) -> None:
    """Print an error to standard error."""
    console(stderr=True).print(Text(for_terminal(text), "bold red"), soft_wrap=True)


def finding(text: object) -> typer.Exit:
    """Print a finding to standard error, and return the exit with code 1."""
    complain(text)
    return typer.Exit(1)


def refused(text: object) -> typer.Exit:
    """Print why a command cannot be done, and return the exit with code 2."""
    complain(text)
    return typer.Exit(2)


def print_json(document: Any) -> None:
    """Print JSON; NaN and infinity become null."""
    print(json.dumps(plain(document), indent=2))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN, infinity and NA are null, numpy's numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float)) else _other(value)


def _other(value: Any) -> str | None:
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)


def shown_value(value: Any, digits: int = 12) -> str:
    """Return a value as people read it."""
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def shown_bytes(size: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes everything")


def shown_age(since: str) -> str:
    """Return how long ago an ISO 8601 time was."""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return ""
    seconds = max(0.0, (datetime.now(timezone.utc) - then).total_seconds())
    size, unit = next((size, unit) for size, unit in AGES if seconds >= size)
    return f"{seconds / (size or 1.0):.0f} {unit}"
