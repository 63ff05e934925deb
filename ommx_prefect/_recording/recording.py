"""How one attempt is recorded: a real OMMX Run, open while the task's function runs.

Everything happens in the process and thread of the function: only there is each attempt, each
exception and each interruption seen. What fails in recording never reaches the function; it is
noted, and decides nothing unless the task says `on_error="raise"`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from ommx.experiment import Run
from prefect.context import TaskRunContext

from ommx_prefect._flowrun.context import adopt_stage, secrets_of_flow_run
from ommx_prefect._flowrun.pending import remember_task_run
from ommx_prefect._format.model import Scalar
from ommx_prefect._prefect.labels import label_task_run
from ommx_prefect._prefect.states import (
    Outcome,
    describe_error,
    one_line,
    outcome_of_exception,
    outcome_of_value,
)
from ommx_prefect._prefect.timeout_shield import Undisturbed
from ommx_prefect._recording.checkpoint_values import Checkpoints, notes_of
from ommx_prefect._recording.current import made_current, recording_here
from ommx_prefect._recording.faults import Faults
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.result_origins import remember_origin
from ommx_prefect._recording.rollback import bind_transaction
from ommx_prefect._recording.run import OpenRun
from ommx_prefect._registry import keepalive
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards import unwritten
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._values.parameters import scalars
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.codecs import log_value
from ommx_prefect.exceptions import RecordingError

T = TypeVar("T")

OUTPUT = "output"
# A generator's values are attached one by one, up to this many: layers are scarce in OCI.
MOST_YIELDED = 1_000
# Below this much free space a registry counts as full: better no record than half a record.
LEAST_FREE_BYTES = 4 * 2**20


class LateSeal(Protocol):
    """Seals what no flow hook waits for, once the record of an attempt is closed."""

    def now(self, attempt: Attempt, outcome: Outcome) -> None:
        """Seal it in this thread, if nobody else will."""

    async def beside_the_loop(self, attempt: Attempt, outcome: Outcome) -> None:
        """Seal it in another thread, so that the event loop goes on meanwhile."""


class Recording:
    """The record of one attempt, from its start to its shard.

    Args:
        attempt: Who runs.
        options: What to record.
        arguments: The call's arguments by name.
        context: What Prefect knows of the task run; None for a Run that is no task.
        late_seal: Seals the attempt when no flow hook will; None where a flow hook always does.
    """

    def __init__(
        self,
        attempt: Attempt,
        options: RecordingOptions,
        arguments: Mapping[str, Any],
        context: TaskRunContext | None = None,
        late_seal: LateSeal | None = None,
    ) -> None:
        self.attempt = attempt
        self.options = options
        self.arguments = arguments
        self.context = context
        self._late_seal = late_seal
        self.timeout_seconds = context.task.timeout_seconds if context else None
        self.redact = Redactor()
        self.faults = Faults(attempt.task, self.redact)
        self.outcome = Outcome("finished", "Completed")
        self.columns: dict[str, Scalar] = {}
        self.yielded = 0
        self._stage: Stage | None = None
        self._undisturbed: Undisturbed | None = None
        self._open = OpenRun(attempt.task, self.faults, store_trace=options.store_trace)
        self._began = self._timed_since = time.monotonic()
        if context is not None and (state := context.task_run.state):
            # Prefect's clock for the timeout starts after this state, and so before ours.
            self._timed_since -= max(0.0, time.time() - state.timestamp.timestamp())
        self._is_in_loop = False
        if self.timeout_seconds is not None:
            self._undisturbed = Undisturbed(self._timed_since + self.timeout_seconds)

    @property
    def stage(self) -> Stage:
        """Where the record waits to be sealed: on this host where no other place is known."""
        return self._stage or LocalStage(self.attempt.owner)

    @functools.cached_property
    def checkpoints(self) -> Checkpoints:
        """What this attempt has checkpointed."""
        return Checkpoints(self.stage, self.attempt)

    @property
    def run(self) -> Run:
        """The Run that is open while the function runs; NoOpenRunError where there is none."""
        return self._open.run

    def runs(self, attempt: Attempt) -> bool:
        """Tell whether this is the recording of the same attempt."""
        mine = (self.attempt.task_run_id, self.attempt.attempt)
        return mine == (attempt.task_run_id, attempt.attempt)

    # ------------------------------------------------------------ around the function

    def __enter__(self) -> Recording:
        try:
            self._begin()
        except BaseException as error:  # a timeout or a signal before the function began
            self.__exit__(type(error), error, None)
            raise
        return self

    def _begin(self) -> None:
        with self.faults.guarded("begin"):
            self._learn_secrets()
            # These need no disk: where there is none, the attempt is known all the same.
            self._tell_prefect()
            remember_task_run(self.attempt.owner, self.attempt.task_run_id)
            self._find_stage()
            _require_space()
            self.attempt = dataclasses.replace(self.attempt, inputs=self._inputs())
            self.stage.begin(self.attempt)
            keepalive.keep(self.attempt)
        if self.faults.first:
            self._open.give_up()
        if self.options.store_trace:
            with self.faults.guarded("open a Run"):
                self._open.trace()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._conclude(error)
        if self._late_seal is not None:
            self._late_seal.now(self.attempt, self._end)
        self._insist(error)

    async def __aenter__(self) -> Recording:
        self._is_in_loop = True
        return self.__enter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._conclude(error)
        if self._late_seal is not None and self.timeout_seconds is None:
            await self._late_seal.beside_the_loop(self.attempt, self._end)
        elif self._late_seal is not None:  # Prefect's clock stands still only while the loop does
            self._late_seal.now(self.attempt, self._end)
        self._insist(error)

    def _conclude(self, error: BaseException | None) -> None:
        if error is not None:
            self._raised(error)
        try:
            self._finish()
        except BaseException as late:  # a timeout or a signal: the record comes first
            self._raised(late)
            self._finish()
            raise
        finally:
            keepalive.release(self.attempt)

    def _insist(self, error: BaseException | None) -> None:
        if self.faults.first and error is None and self.options.on_error == "raise":
            raise RecordingError(self.attempt.task, self.faults.first)

    # ------------------------------------------------------------ what the function gives

    def active(self) -> AbstractContextManager[None]:
        """Make this recording's Run the current one."""
        return made_current(self)

    def returned(self, value: T) -> T:
        """Record what the function returned, and return it unchanged."""
        self.outcome = outcome_of_value(value)
        if self.options.log_output:
            self._log_output(OUTPUT, value)
        return value

    def checkpoint(self, values: Mapping[str, Any]) -> None:
        """Make values durable now, whatever becomes of the attempt.

        Raises:
            RecordingError: They could not be written, and on_error="raise".
        """
        if self._open.is_closed:
            self.faults.note_once(
                "a checkpoint is not recorded: the Run was closed by finish() before"
            )
            return
        try:
            self._search("checkpoint", values)
            for note in self.checkpoints.save(values, self.redact, self.faults.notes):
                self.faults.note(note)
        except Exception as error:
            reason = self.faults.blame("write a checkpoint", error)
            self.faults.note_once(reason, about="write a checkpoint")
            if self.options.on_error == "raise":
                raise RecordingError(self.attempt.task, reason) from error

    def yielded_value(self, value: T) -> T:
        """Record one value of a generator, and return it unchanged."""
        if self.options.log_output and self.yielded < MOST_YIELDED:
            self._log_output(f"{OUTPUT}.{self.yielded}", value)
        self.yielded += 1
        return value

    def _log_output(self, name: str, value: Any) -> None:
        if value is None:
            return
        if self._open.is_closed:
            self.faults.note(f"{name} is not recorded: the Run was closed by finish() before")
            return
        self._untimed(self._attach, name, value)

    def _attach(self, name: str, value: Any) -> None:
        with self.faults.guarded(f"attach {name}"):
            logged = log_value(self.run, name, value, forbidden=self.redact.secrets)
            for note in notes_of(logged, self.redact):
                self.faults.note(note)

    def _untimed(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do what is none of the function's doing, and none of its time."""
        if self._undisturbed is None or self._is_in_loop:  # where the loop's clock waits, too
            work(*arguments)
        else:
            self._undisturbed.do(functools.partial(work, *arguments))

    # ------------------------------------------------------------ before the function

    def _learn_secrets(self) -> None:
        # Flows and tasks hand theirs to the tasks that they call, under whatever name.
        enclosing = recording_here()
        self.redact.add([*secrets_of_flow_run(), *(enclosing.redact.secrets if enclosing else ())])
        self._search("argument", self.arguments)
        self.attempt = dataclasses.replace(
            self.attempt, task_run=self.redact.text(self.attempt.task_run)
        )

    def _search(self, kind: str, values: Mapping[str, Any]) -> None:
        """Look for secrets in these values, and note which cannot be searched."""
        for name, error in self.redact.learn(values).items():
            reason = self.redact.text(describe_error(error))
            self.faults.note_once(f"{kind} {name!r} cannot be searched for secrets: {reason}")

    def _find_stage(self) -> None:
        adopt_stage(self.attempt.owner)
        if self.attempt.flow_run_id:  # outside flows an attempt is sealed in its own process
            self._stage = stage_of(self.attempt.owner)

    def _tell_prefect(self) -> None:
        if self.context is None:
            return
        label_task_run(self.context.task_run, self.attempt)
        key = bind_transaction(self.attempt)
        if key and self.context.persist_result:
            remember_origin(key, self.attempt.task_run_id)

    def _inputs(self) -> dict[str, Scalar]:
        found: dict[str, Scalar] = {}
        for name, value in scalars(self.arguments, self.options.log_inputs):
            if isinstance(value, Exception):
                reason = str(value) if isinstance(value, ValueError) else describe_error(value)
                self.faults.note(f"argument {name!r} is not recorded: {self.redact.text(reason)}")
            else:
                found[name] = self.redact.scalar(value)
        return found

    # ------------------------------------------------------------ after the function

    def _raised(self, error: BaseException) -> None:
        elapsed = time.monotonic() - self._timed_since
        self.outcome = outcome_of_exception(error, elapsed, self.timeout_seconds)

    @property
    def _end(self) -> Outcome:
        """How the attempt ends for Prefect: one that must be recorded fails where it is not."""
        required = self.options.on_error == "raise" and self.outcome.status == "finished"
        if self.faults.first and required:
            error = RecordingError(self.attempt.task, self.faults.first)
            return outcome_of_exception(error, 0.0, None)
        return self.outcome

    def _reason(self) -> str | None:
        reason = self._end.reason
        return None if reason is None else one_line(self.redact.text(reason))

    def _finish(self) -> None:
        self._open.end()
        if self.yielded > MOST_YIELDED:
            too_many = self.yielded - MOST_YIELDED
            self.faults.note(f"{too_many} of {self.yielded} values are not recorded")
        with self.faults.guarded("close the Run"):
            self._open.close(self._end.status, self._reason() or "")
        self._untimed(self._put)

    def _put(self) -> None:
        with self.faults.guarded("store the Run"):
            self._open.store()
        with self.faults.guarded("stage the Run"):
            kept_here = self.stage.put(self._shard())
            self.faults.first = self.faults.first or kept_here
            if kept_here and self._end is not self.outcome:  # the task fails for it: so its Run
                LocalStage(self.attempt.owner).put(self._shard())
            return
        self._open.documents = None
        unwritten.remember(self._shard())

    def _shard(self) -> Shard:
        duration = time.monotonic() - self._began
        return Shard(
            attempt=self.attempt,
            status=self._end.status,
            reason=self._reason(),
            parameters={**self.attempt.parameters(self._end.state, duration), **self.columns},
            notes=(*self.faults.notes, *self._degradation()),
            documents=self._open.documents,
        )

    def _degradation(self) -> tuple[str, ...]:
        return (f"degraded: {self.faults.first}",) if self.faults.first else ()


def _require_space() -> None:
    if sys.platform == "win32":
        return
    root = registry_root()
    try:
        free = os.statvfs(root)
    except FileNotFoundError:
        root.mkdir(parents=True)
        free = os.statvfs(root)
    if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
        raise OSError(f"the disk of the Local Registry {root} is full")
