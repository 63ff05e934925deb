"""Show that a command is still at work.

On a terminal a line of rich's appears after two seconds, and goes when the work is done. Elsewhere,
in the mail of cron or the log of CI, a plain line comes every ten seconds. Both go to standard
error, so that what a command prints can be read by a program. That a registry has to be asked again
is a part of that line, and no warning of its own: a command that fails says why in one line.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ommx_prefect._values.display import for_terminal

QUIET_SECONDS = 2.0
EVERY_SECONDS = 10.0


class Work:
    """What a command is doing, and how far it is."""

    def __init__(self, text: str, total: int | None = None) -> None:
        self.text, self.total, self.done = for_terminal(text), total, 0
        self.trouble = ""
        self.started = time.monotonic()

    def advance(self, text: str | None = None) -> None:
        """Count one more thing as done, and say what comes next."""
        self.done += 1
        self.text = self.text if text is None else for_terminal(text)

    @property
    def line(self) -> str:
        """The plain line that says how far it is."""
        so_far = "" if self.total is None else f", {self.done} of {self.total}"
        trouble = f": {self.trouble}" if self.trouble else ""
        return f"... {self.text}{so_far} ({time.monotonic() - self.started:.0f} s){trouble}"


class _Retries(logging.Filter):
    """Lets the line of some work tell what is tried again, in place of the log."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def filter(self, record: logging.LogRecord) -> bool:
        self._work.trouble = for_terminal(record.getMessage())
        return False


@contextmanager
def working(text: str, total: int | None = None) -> Iterator[Work]:
    """Show that something goes on for as long as it takes more than two seconds.

    Args:
        text: What is done, such as `reading`.
        total: How many things there are to be done, where that is known.
    """
    work, ended = Work(text, total), threading.Event()
    show = _show_rich if sys.stderr.isatty() else _show_plain
    thread = threading.Thread(target=show, args=(work, ended), daemon=True)
    thread.start()
    retries, log = _Retries(work), logging.getLogger("stamina")
    log.addFilter(retries)
    try:
        yield work
    finally:
        log.removeFilter(retries)
        ended.set()
        thread.join()


def _show_plain(work: Work, ended: threading.Event) -> None:
    while not ended.wait(EVERY_SECONDS):
        print(work.line, file=sys.stderr, flush=True)


def _show_rich(work: Work, ended: threading.Event) -> None:
    if ended.wait(QUIET_SECONDS):
        return
    columns = [TextColumn("{task.description}", markup=False), TimeElapsedColumn()]
    if work.total is not None:
        columns[1:1] = [BarColumn(20), MofNCompleteColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        shown = progress.add_task(work.text, total=work.total)
        while not ended.wait(0.2):
            told = ": ".join(filter(None, (work.text, work.trouble)))
            progress.update(shown, completed=work.done, description=told)
