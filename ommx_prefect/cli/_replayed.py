"""Solve a recorded instance again, and compare the answers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ommx.adapter import SamplerAdapter, SolverAdapter
from ommx.experiment import Experiment, Run

from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._solver.backends import backend_of
from ommx_prefect._solver.options import LIMITS
from ommx_prefect._targets import annotations as names
from ommx_prefect.analysis import environment_of, solves
from ommx_prefect.analysis._logged import said_in_options
from ommx_prefect.analysis._solves import rows_of, variant_of
from ommx_prefect.analysis._tolerance import Tolerance
from ommx_prefect.cli._recorded import RecordedSolve, settings_for
from ommx_prefect.solvers._solve import sample_in, solve_in

# Outcomes that a limit decides: another machine, or a busier one, gets another answer.
AT_A_LIMIT = frozenset({"feasible", "no_solution"})
VERSIONS = {
    names.PREFECT_VERSION: "prefect",
    names.OMMX_VERSION: "ommx",
}


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One solve, as it was and as it is now.

    Attributes:
        run: Its Run; `solve` its number there.
        variant: The options that were recorded, as tables have them; `seed` and `limit` likewise.
        agrees: Whether outcome and objective agree within the tolerance.
        why: What explains a difference.
    """

    run: int
    solve: int | None
    instance: str
    adapter: str
    variant: str
    seed: int | None
    limit: float | None
    outcome_before: str | None
    outcome_after: str | None
    objective_before: float | None
    objective_after: float | None
    seconds_before: float | None
    seconds_after: float | None
    agrees: bool
    why: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the row for machines."""
        return asdict(self)


def replay_in(
    run: Run,
    recorded: RecordedSolve,
    adapter: type[SolverAdapter],
    more_options: Mapping[str, Any],
) -> None:
    """Solve in an open Run what was recorded, with its own options and more."""
    limits, options = settings_for(recorded, adapter)
    limits, options = with_more(limits, options, more_options, adapter)
    run.log_parameter("replay_of_run", recorded.run)
    if recorded.solve is not None:
        run.log_parameter("replay_of_solve", recorded.solve)
    if issubclass(adapter, SamplerAdapter):
        options |= limits
        sample_in(run, adapter, recorded.instance, options=options, raise_on_failure=False)
        return
    solve_in(
        run,
        adapter,
        recorded.instance,
        limits=limits,
        options=options,
        start=recorded.start,
        raise_on_failure=False,
    )


def with_more(
    limits: Mapping[str, Any],
    options: Mapping[str, Any],
    more: Mapping[str, Any],
    adapter: type[SolverAdapter],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return limits and options with more of either, under our name of a limit or the solver's."""
    backend = backend_of(adapter)
    theirs = backend.limits if backend else {}
    ours = {name: value for name, value in more.items() if name in theirs}
    # A limit that a sampler, say, does not have is none of its options either.
    own = {name: value for name, value in more.items() if name not in {*theirs, *LIMITS}}
    # What is told now replaces what was recorded, whichever of its two names it has.
    kept = {x: value for x, value in limits.items() if theirs.get(x) not in own}
    others = {x: value for x, value in options.items() if x not in {theirs[y] for y in ours}}
    return {**kept, **ours}, {**others, **own}


def answers_of(replay: Experiment) -> list[dict[str, Any]]:
    """Return what the solves of a replay came to, one row for each Run."""
    return rows_of(solves(replay, digests=False))


def judged(
    opened: Opened,
    recorded: RecordedSolve,
    after: Mapping[str, Any],
    tolerance: Tolerance,
) -> Replayed:
    """Compare what was recorded with what came now."""
    before = _told(recorded)
    old, new = before.get("objective"), after.get("objective")
    is_same_outcome = before.get("outcome") == after.get("outcome")
    agrees = is_same_outcome and _is_same_objective(old, new, tolerance)
    return Replayed(
        run=recorded.run,
        solve=recorded.solve,
        instance=recorded.name,
        adapter=str(after.get("adapter")),
        variant=before["variant"],
        seed=before.get("seed"),
        limit=before.get("limit"),
        outcome_before=before.get("outcome"),
        outcome_after=after.get("outcome"),
        objective_before=old,
        objective_after=new,
        seconds_before=before.get("seconds"),
        seconds_after=after.get("seconds"),
        agrees=agrees,
        why=() if agrees else tuple(_reasons(opened, before, after)),
    )


def _told(recorded: RecordedSolve) -> dict[str, Any]:
    """Return what was recorded of a solve; of one without a row of its own, its options tell."""
    options = recorded.options
    return {"variant": variant_of(options), **said_in_options(options), **recorded.answer}


def _is_same_objective(old: float | None, new: float | None, tolerance: Tolerance) -> bool:
    if old is None or new is None:
        return old is new
    return not tolerance.is_exceeded(abs(old - new), old, new)


def _reasons(opened: Opened, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if before.get("outcome") is None:
        yield "the recorded solve never ended" + _time_it_had(before)
    if before.get("adapter") != after.get("adapter"):
        yield "another solver"
    if before.get("variant") != after.get("variant"):
        yield f"other options: {after.get('variant') or 'none'}"
    if AT_A_LIMIT & {before.get("outcome"), after.get("outcome")}:
        yield "it stopped at a limit, and what is found by then depends on machine and load"
    if after.get("reason"):
        yield str(after["reason"])
    yield from _environment_changes(opened)


def _time_it_had(before: Mapping[str, Any]) -> str:
    seconds = before.get("seconds")
    return f": it was stopped after {seconds:.4g} s" if seconds else ""


def _environment_changes(opened: Opened) -> Iterator[str]:
    """Say what is other on this machine than the experiment says of its own."""
    for key, value in _leaves(environment_of(opened.experiment) or {}):
        said = [str(x) for x in (value if isinstance(value, list) else [value])]  # one of each host
        if (now := _version(key)) is not None and now not in said:
            yield f"{key} was {', '.join(said)}, and is {now}"
        if key in ("cores", "cpu_cores") and str(os.cpu_count()) not in said:
            yield f"{', '.join(said)} cores, now {os.cpu_count()}"
    told = opened.experiment.annotations
    for annotation, package in VERSIONS.items():
        if told.get(annotation) not in (None, now := _version(package)):
            yield f"{package} was {told[annotation]}, and is {now}"
    if told.get(names.PYTHON_VERSION) not in (None, platform.python_version()):
        yield f"Python was {told[names.PYTHON_VERSION]}, and is {platform.python_version()}"


def _leaves(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield str(key), value


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
