"""All facts of one attempt that is being recorded, and the stage its record goes to.

A `Record` holds facts and answers questions about them. The steps that fill it in are functions
beside it: `opening`, `attach`, `notify` and `closing`.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from prefect.context import TaskRunContext

from ommx_prefect._format.model import Scalar
from ommx_prefect._prefect.states import Outcome, outcome_of_exception
from ommx_prefect._prefect.timeout_shield import TimeoutShield
from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.checkpoint_values import Checkpoints
from ommx_prefect._recording.faults import Faults
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.run import OpenRun
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import ForkedProcessError, RecordingError

ABANDONED = "its coroutine was abandoned before it ended"

P = ParamSpec("P")


class Record:
    """The facts of one attempt that is being recorded.

    Args:
        attempt: Who runs.
        options: What to record.
        arguments: The call's arguments by name.
        context: What Prefect knows of the task run; None for a Run that is no task.

    Attributes:
        redact: Cuts the secrets of the attempt out of texts.
        faults: What could not be recorded.
        open_run: The OMMX Run of the attempt.
        outcome: How the function ended.
        result_key: Under which Prefect will persist what the function returns; None: it does not.
        columns: Run parameters beside those that every attempt has.
        announced: What the solve that runs was said to be, before it.
        yielded: How many values a generator has yielded.
        is_in_loop: Whether the function is a coroutine.
        is_over: Whether the function has ended, so that nothing more is taken.
        began: When the recording began, by `time.monotonic`.
    """

    def __init__(
        self,
        attempt: Attempt,
        options: RecordingOptions,
        arguments: Mapping[str, Any],
        context: TaskRunContext | None = None,
    ) -> None:
        self.attempt = attempt
        self.options = options
        self.arguments = arguments
        self.context = context
        self.redact = Redactor()
        self.faults = Faults(attempt.task, self.redact)
        self.open_run = OpenRun(attempt.task, self.faults, store_trace=options.store_trace)
        self.outcome = Outcome("finished", "Completed")
        self.result_key: str | None = None
        self.columns: dict[str, Scalar] = {}
        self.announced: Announced | None = None
        self.yielded = 0
        self.is_in_loop = self.is_over = False
        self.began = time.monotonic()
        self._known_stage: Stage | None = None
        self.timeout_seconds = context.task.timeout_seconds if context else None
        self._timed_since = self.began
        self._shield: TimeoutShield | None = None
        if self.timeout_seconds is not None:
            self._timed_since -= _since_running(context)
            self._shield = TimeoutShield(self._timed_since + self.timeout_seconds)

    @property
    def stage(self) -> Stage:
        """Where the record waits to be sealed: on this host where no other place is known."""
        return self._known_stage or LocalStage(self.attempt.root_flow_run_id)

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._known_stage = stage

    @functools.cached_property
    def checkpoints(self) -> Checkpoints:
        """What this attempt has checkpointed."""
        return Checkpoints(self.stage, self.attempt, lambda: self.is_over)

    def take_no_more(self) -> None:
        """Open no Run and write no checkpoint from here on; one that is being written is whole."""
        self.open_run.end()
        self.is_over = True
        if "checkpoints" in vars(self):
            self.checkpoints.await_written()

    def forget_announced(self) -> None:
        """Remove what was announced of a solve, once the record that holds it is durable."""
        if "checkpoints" in vars(self):
            self.checkpoints.forget_announced()

    @property
    def end(self) -> Outcome:
        """How the attempt ends for Prefect: a required record that is not whole fails it."""
        is_required = self.options.on_error == "raise" and self.outcome.status == "finished"
        if self.faults.first and is_required:
            error = RecordingError(self.attempt.task, self.faults.first)
            return outcome_of_exception(error, 0.0, None)
        return self.outcome

    @property
    def is_in_fork(self) -> bool:
        """Whether this process was forked from the one that records the attempt."""
        return self.attempt.pid != os.getpid()

    def require_own_process(self) -> None:
        """Raise ForkedProcessError where what is logged would be lost."""
        if self.is_in_fork:
            raise ForkedProcessError(self.attempt.task)

    def raised(self, error: BaseException) -> None:
        """Note what the function raised, or what interrupted it."""
        if isinstance(error, GeneratorExit) and self.is_in_loop:
            self.outcome = Outcome("interrupted", "Crashed", ABANDONED)
            return
        elapsed = time.monotonic() - self._timed_since
        self.outcome = outcome_of_exception(error, elapsed, self.timeout_seconds)

    def outside_timeout(self, work: Callable[P, None]) -> Callable[P, None]:
        """Return a step of the recording so that it takes none of the task's time."""
        shield = self._shield
        if shield is None or self.is_in_loop:  # the loop's clock waits as well
            return work
        return lambda *args, **kwargs: shield.do(functools.partial(work, *args, **kwargs))


def _since_running(context: TaskRunContext | None) -> float:
    """Return the seconds since Prefect's clock for the timeout has started: after this state."""
    state = context.task_run.state if context else None
    return 0.0 if state is None else max(0.0, time.time() - state.timestamp.timestamp())
