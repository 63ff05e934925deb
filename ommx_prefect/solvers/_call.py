"""Record one call of a solver: its input before it runs, and its result afterwards.

A process that is killed in the middle of a solve leaves what `keep` was given: the input and every
parameter. Of an attempt that ends, however it ends, the Run itself tells this, and the copy goes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ommx import Solution

from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.current import note_here, recording_here
from ommx_prefect._solver.call import SolverCall
from ommx_prefect._solver.outcome import Parameters, log_parameters
from ommx_prefect._solver.telemetry import INCUMBENT
from ommx_prefect._values.secrets import redact_known
from ommx_prefect._workarounds.notices import notices_collected
from ommx_prefect.exceptions import OmmxPrefectError, SolveOutcomeError
from ommx_prefect.instances._digest import digest_of
from ommx_prefect.instances._name import instance_name
from ommx_prefect.solvers._concurrency import Concurrency, counted
from ommx_prefect.solvers._parameters import asked_of, options_asked
from ommx_prefect.solvers._stopping import require_flow_run, seconds_left


@dataclass
class RecordedCall(SolverCall):
    """A solver's call that is recorded in the Run of a task."""

    _kept: Parameters = field(default_factory=dict)

    @functools.cached_property
    def data(self) -> bytes:
        """The instance's bytes, made once: for its digest, and to keep them before the solve."""
        return self.instance.to_v2_bytes()

    @functools.cached_property
    def digest(self) -> str:
        """The content digest of the instance; computed already where Prefect made a cache key."""
        return digest_of(self.instance, self.data)

    @functools.cached_property
    def _name(self) -> str:
        return instance_name(self.instance, lambda: self.digest)

    @property
    def name(self) -> str:
        """What the instance is called."""
        return self._name

    @property
    def asked(self) -> Parameters:
        """The run parameters of the input: instance, digest, adapter, sense and readers."""
        return asked_of(self.adapter, self.instance, self.name, self.digest)

    def note(self, notice: str) -> None:
        """Add a note to the ledger, at the task."""
        note_here(notice)

    def require_wanted(self) -> None:
        """Raise KeyboardInterrupt where the flow run was interrupted, or a race is lost."""
        require_flow_run()

    def seconds_left(self) -> float | None:
        """Return how long the task may go on; None where it has no timeout."""
        return seconds_left()

    def counted(self) -> AbstractContextManager[Concurrency | None]:
        """Count it among the solves of the flow run on this host."""
        return counted(recording_here())

    def keep(self, given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Store the input and the known parameters durably, before the solver starts.

        Args:
            given: Limits that were set.
            options: Options under the backend's own names.
        """
        recording = recording_here()
        if recording is not None and recording.has_run(self.run):
            recording.redact.learn(options)
            self._kept = {**self.asked, **options_asked(options), **given}
            recording.announce(Announced.of(self._kept, self.instance, self.data))

    def keep_incumbent(self, solution: Solution, found: Mapping[str, Any]) -> None:
        """Store the best solution so far durably, while the solver runs.

        Args:
            solution: The solution.
            found: Run parameters that tell of it.
        """
        recording = recording_here()
        if recording is not None and recording.has_run(self.run):
            told = {**self._kept, **found}
            announced = Announced.of(told, self.instance, self.data)
            recording.announce(announced.beside(INCUMBENT, solution))


@contextmanager
def logged(call: RecordedCall) -> Iterator[None]:
    """Log the input before the solve, and the result after it, an error included."""
    call.found = {"outcome": "error", "feasible": False}
    log_parameters(call.run, call.asked)
    warnings: list[str] = []
    try:
        with _without_secrets(), notices_collected() as warnings:
            yield
    except SolveOutcomeError as error:
        call.found["outcome"] = error.outcome
        raise
    except Exception:
        raise
    except BaseException:
        del call.found["outcome"]  # an interruption says nothing about the instance
        call.found["feasible"] = call.measured.incumbent is not None
        raise
    finally:
        told = {"solver_warning": "; ".join(warnings)} if warnings else {}
        measured = call.measured.parameters
        ended = {**measured, **call.found, "solve_seconds": call.seconds, **told}
        log_parameters(call.run, ended)
        _attach(call)


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Cut known secrets out of our own errors: Prefect logs them, and shows them as states."""
    try:
        yield
    except OmmxPrefectError as error:
        told = [redact_known(each) if isinstance(each, str) else each for each in error.args]
        if told == list(error.args):
            raise
        raise type(error)(*told) from None  # its cause would tell, too


def _attach(call: RecordedCall) -> None:
    recording = recording_here()
    if recording is not None and recording.redact.secrets and call.measured.log:
        text = call.measured.log.decode(errors="replace")
        call.measured.log = recording.redact.text(text).encode()
    try:
        call.measured.attach(call.run)
    except Exception as error:
        note_here(f"the telemetry of the solve is not whole: {type(error).__name__}: {error}")
