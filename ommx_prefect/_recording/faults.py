"""Note what goes wrong in recording, and keep it away from the user's task."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

from ommx_prefect._prefect.log import warn
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import Redactor


class Faults:
    """The failures of recording one attempt, with the notes that its ledger gets.

    Args:
        task: Name of the task, for the log.
        redact: Takes the secrets out of what is noted.

    Attributes:
        notes: What the ledger tells, one sentence each.
        first: What the record lacks first of all; None for a record that is whole.
    """

    def __init__(self, task: str, redact: Redactor) -> None:
        self.notes: list[str] = []
        self.first: str | None = None
        self._task = task
        self._redact = redact

    def note(self, note: str) -> None:
        """Add a note, here and to the log; secrets are cut out of it."""
        note = self._redact.text(note)
        self.notes.append(note)
        with contextlib.suppress(Exception):
            warn(f"Task {self._task!r}: {note}")

    def note_once(self, note: str, about: str = "") -> None:
        """Add a note unless it is there already: callbacks repeat themselves."""
        if not any(self._redact.text(about or note) in known for known in self.notes):
            self.note(note)

    def record_failure(self, what: str, error: Exception) -> str:
        """Keep the first failure; return the sentence that describes it."""
        reason = f"could not {self._redact.text(what)}: {describe_error(error, self._redact.text)}"
        self.first = self.first or reason
        return reason

    def guarded(self, what: str) -> AbstractContextManager[None, bool]:
        """Return a context manager that notes an exception and does not raise it."""
        return _Guard(self, what)


class _Guard(AbstractContextManager[None, bool]):
    """A block whose failure is noted; each attempt has several, so no generator is made for it."""

    __slots__ = ("_faults", "_what")

    def __init__(self, faults: Faults, what: str) -> None:
        self._faults = faults
        self._what = what

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        self._faults.note(self._faults.record_failure(self._what, error))
        return True
