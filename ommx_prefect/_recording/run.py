"""The OMMX Run of an attempt: created when it is first used, stored as documents at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ommx.experiment import Experiment, Run

from ommx_prefect._format.encode import documents_of_output
from ommx_prefect._format.model import Documents
from ommx_prefect._recording.collected import CollectedAttachments
from ommx_prefect._recording.faults import Faults
from ommx_prefect._registry.blobs import store_blob
from ommx_prefect._registry.unnamed import open_experiment, store
from ommx_prefect._workarounds.rust_spans import silence_rust_spans
from ommx_prefect._workarounds.spans import without_spans
from ommx_prefect.exceptions import NoOpenRunError, RecordingError

# Payload up to this size is in the record itself; a larger one is a file of the Local Registry.
MOST_IN_RECORD = 64 * 2**10
# Run status -> the exception with which OMMX closes a Run so.
CLOSED_BY: dict[str, type[BaseException] | None] = {
    "finished": None,
    "failed": RuntimeError,
    "interrupted": KeyboardInterrupt,
}


class OpenRun:
    """A Run that is opened when it is first asked for.

    An attempt that logs nothing and returns None has nothing that OMMX must store.

    Args:
        task: Name of the task.
        faults: Where it is noted that a Run cannot be opened.
        store_trace: Whether OMMX keeps a trace of it.

    Attributes:
        documents: What the Run has left.
        payload: What they name and the Local Registry does not have, by digest.
    """

    def __init__(self, task: str, faults: Faults, *, store_trace: bool) -> None:
        self.documents: Documents | None = None
        self.payload: Mapping[str, bytes] = {}
        self._output: CollectedAttachments | None = None
        self._task = task
        self._faults = faults
        self._store_trace = store_trace
        self._opening = threading.RLock()
        self._is_over = False
        self._is_recordable = True
        self._run: Run | None = None
        self._experiment: Experiment | None = None

    @property
    def run(self) -> Run:
        """The Run.

        Raises:
            NoOpenRunError: The attempt has ended, and nobody had asked.
            RecordingError: There is no place for a Run at all, not even one that is not recorded.
        """
        with self._opening:
            if self._is_over and self._run is None:
                raise NoOpenRunError
            self._run = self._run or self._opened()
            return self._run

    @property
    def takes_output(self) -> bool:
        """Whether nobody has asked for the Run, so that its output needs none."""
        return self._run is None and self._is_recordable

    def take_output(self, output: CollectedAttachments) -> bool:
        """Take the output of a function that has ended; False where its Run is open after all."""
        with self._opening:
            if self.takes_output:
                self._output, self._is_over = output, True
            return self._output is not None

    @property
    def is_closed(self) -> bool:
        """Whether `finish()` has closed it, which is the user's right."""
        try:
            return self._run is not None and self._run.run_id < 0
        except RuntimeError as error:
            return "borrowed" not in str(error)  # see `is_solving`

    @property
    def is_solving(self) -> bool:
        """Whether `log_solve` or `log_sample` is at work in it: OMMX lets nobody else read it."""
        try:
            return self._run is not None and self._run.run_id is None
        except RuntimeError as error:
            return "borrowed" in str(error)

    def holds(self, run: Run) -> bool:
        """Tell whether this Run is the one that is open here."""
        return self._run is run

    def give_up(self) -> None:
        """Accept what the function logs from here on, and record nothing of it."""
        self._is_recordable = False

    def trace(self) -> None:
        """Open the Run before the function runs, so that its trace begins there."""
        silence_rust_spans()
        self.run.__enter__()

    def end(self) -> None:
        """Open no Run from here on."""
        with self._opening:
            self._is_over = True

    def close(self, status: str, reason: str) -> None:
        """Close the Run, in the thread that opened it: a trace ends where it began."""
        if self._run is None or self.is_closed:
            return
        kind = CLOSED_BY[status]
        # Never the user's own exception: its message may hold a secret.
        error = kind and kind(reason)
        if self._store_trace:
            self._run.__exit__(kind, error, None)
            return
        with without_spans():  # OMMX makes one of the time from enter to exit, which is none here
            self._run.__enter__()
            self._run.__exit__(kind, error, None)

    def store(self) -> None:
        """Store the Run's Experiment, once."""
        if self.documents is not None:
            return
        if self._experiment and self._run:
            self.documents = store(self._experiment)
        elif self._output is not None:
            self._store_output(self._output)

    def _store_output(self, output: CollectedAttachments) -> None:
        small: dict[str, bytes] = {}
        large: dict[str, bytes] = {}
        for digest, data in output.blobs.items():
            (small if len(data) <= MOST_IN_RECORD else large)[digest] = data
        for digest, data in large.items():
            store_blob(digest, data)
        self.documents = documents_of_output(output.attachments)
        self.payload, self._output = small, None

    def _opened(self) -> Run:
        if self._is_recordable:
            self._is_recordable = False  # a warning's handler may ask for the Run, too
            with self._faults.guarded("open a Run"):
                experiment = open_experiment(store_trace=self._store_trace)
                run = experiment.run()
                self._experiment, self._is_recordable = experiment, True
                return run
        # The function may use current_run() all the same; what it logs is lost with it.
        try:
            return Experiment.with_temp_local_registry().run()
        except Exception as error:
            reason = self._faults.first or "no Run could be opened"
            raise RecordingError(self._task, reason) from error
