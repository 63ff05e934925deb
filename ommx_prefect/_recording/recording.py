"""The context manager that records one attempt: a real OMMX Run is open while its function runs.

Everything happens in the process and thread of the function: only there is each attempt, each
exception and each interruption seen. What fails in recording never reaches the function; it is
noted, and decides nothing unless the task says `on_error="raise"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from ommx.experiment import Run
from prefect.context import TaskRunContext

from ommx_prefect._prefect.states import Outcome, require_error_of_pool
from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.attach import (
    attach_returned,
    attach_yielded,
    save_announced,
    save_checkpoint,
)
from ommx_prefect._recording.closing import close_record, raise_if_required
from ommx_prefect._recording.current import made_current
from ommx_prefect._recording.faults import Faults
from ommx_prefect._recording.opening import open_record
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.record import Record
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._values.secrets import Redactor

T = TypeVar("T")


class SealsLate(Protocol):
    """What seals an attempt that no flow hook will seal, once its record is closed."""

    def seal(self, attempt: Attempt, outcome: Outcome) -> None:
        """Seal it in this thread, if nobody else will."""

    async def seal_async(self, attempt: Attempt, outcome: Outcome) -> None:
        """Seal it in another thread, so that the event loop goes on meanwhile."""


class Recording:
    """Records one attempt, from its start to its shard.

    Args:
        attempt: Who runs.
        options: What to record.
        arguments: The call's arguments by name.
        context: What Prefect knows of the task run; None for a Run that is no task.
        late_seal: Seals the attempt when no flow hook will; None where a flow hook always does.

    Attributes:
        record: What is known of the attempt.
    """

    def __init__(
        self,
        attempt: Attempt,
        options: RecordingOptions,
        arguments: Mapping[str, Any],
        context: TaskRunContext | None = None,
        late_seal: SealsLate | None = None,
    ) -> None:
        self.record = Record(attempt, options, arguments, context)
        self._late_seal = late_seal

    @property
    def attempt(self) -> Attempt:
        """Who runs."""
        return self.record.attempt

    @property
    def redact(self) -> Redactor:
        """Redacts the secrets of the attempt in texts."""
        return self.record.redact

    @property
    def faults(self) -> Faults:
        """The failures of recording so far."""
        return self.record.faults

    @property
    def run(self) -> Run:
        """The Run that is open while the function runs; NoOpenRunError where there is none."""
        self.record.require_own_process()
        return self.record.open_run.run

    @property
    def is_solving(self) -> bool:
        """Whether `log_solve` or `log_sample` is at work in the Run."""
        return self.record.open_run.is_solving

    def has_run(self, run: Run) -> bool:
        """Tell whether this is the Run that is open here."""
        return self.record.open_run.holds(run)

    def runs(self, attempt: Attempt) -> bool:
        """Tell whether this is the recording of the same attempt."""
        own = (self.attempt.task_run_id, self.attempt.attempt)
        return own == (attempt.task_run_id, attempt.attempt)

    def __enter__(self) -> Recording:
        try:
            open_record(self.record)
        except BaseException as error:  # a timeout or a signal before the function began
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if self.record.is_in_fork:  # the record is the parent's
            return
        close_record(self.record, error)
        if self._late_seal is not None:
            self._late_seal.seal(self.attempt, self.record.end)
        raise_if_required(self.record, error)
        require_error_of_pool(error)

    async def __aenter__(self) -> Recording:
        self.record.is_in_loop = True
        return self.__enter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # Prefect's clock for a timeout stands still only while the loop does, and a coroutine
        # that was abandoned cannot await.
        may_await = self.record.timeout_seconds is None and not isinstance(error, GeneratorExit)
        if self._late_seal is None or self.record.is_in_fork or not may_await:
            self.__exit__(kind, error, traceback)
            return
        close_record(self.record, error)
        await self._late_seal.seal_async(self.attempt, self.record.end)
        raise_if_required(self.record, error)
        require_error_of_pool(error)

    # The names of these are in pickles of tasks, which hold their wrapper by value.

    def active(self) -> AbstractContextManager[None]:
        """Make this recording the current one while the block runs."""
        return made_current(self)

    def returned(self, value: T) -> T:
        """Record what the function returned, and return it unchanged."""
        attach_returned(self.record, value)
        return value

    def yielded_value(self, value: T) -> T:
        """Record one value of a generator, and return it unchanged."""
        attach_yielded(self.record, value)
        return value

    def checkpoint(self, values: Mapping[str, Any]) -> None:
        """Make values durable now, whatever becomes of the attempt."""
        save_checkpoint(self.record, values)

    def announce(self, announced: Announced) -> None:
        """Make durable now what the Run will hold if the attempt ends."""
        if not self.record.is_in_fork:  # whose solve is not the Run's
            save_announced(self.record, announced)
