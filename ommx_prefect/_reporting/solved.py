"""Read the nights before one as tables of solves, from the Local Registry or their own registry.

An experiment that is in a registry alone has its payload there. What is compared is in its run
parameters, and its documents are small: manifest, config and parameters. So nothing else is
fetched, and a solve whose Run does not say its outcome is left out.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ommx.experiment import Experiment, ExperimentRef

from ommx_prefect._format.earlier import earlier_solves, own_runs
from ommx_prefect._format.model import ExperimentRecord, RunRecord
from ommx_prefect._registry.names import load_named
from ommx_prefect._registry.parts import solves_in
from ommx_prefect._reporting.night import Night
from ommx_prefect._sealing.composed import Composed
from ommx_prefect._sealing.lineage import Series
from ommx_prefect._sealing.nights import nights_before
from ommx_prefect._sealing.result import target_of_sealed
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._targets import annotations as names
from ommx_prefect._targets.protocol import Target
from ommx_prefect._targets.whole import read_whole
from ommx_prefect.exceptions import OmmxPrefectError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Solved:
    """A night that can be compared.

    Attributes:
        image_name: Its name.
        flow_run_id: Id of its flow run.
        table: Its solves, as `analysis.solves` has them.
        environments: What it says of each host that it ran on.
    """

    image_name: str
    flow_run_id: str
    table: pd.DataFrame
    environments: Sequence[Mapping[str, Any]]


class ComparableNight(Protocol):
    """An earlier night that can be compared; its solves are counted before it is read."""

    def solves(self) -> int:
        """Return how many solves it has; DocumentError or GoneError where it is none any more."""

    def load(self) -> Solved | None:
        """Read it; None where its name points elsewhere meanwhile."""


def solved(night: Night) -> Solved | None:
    """Return the solves of a night; None where its name points elsewhere meanwhile."""
    sealed = night.sealed
    if sealed.composed_in:
        return _of_record(sealed.image_name, night.experiment, target_of_sealed(sealed))
    opened = load_named(sealed.stored_name, sealed.manifest_digest)
    return _of_experiment(sealed.image_name, opened) if opened else None


def earlier(night: Night, most: int, most_solves: int) -> list[Solved]:
    """Return the last nights before one in order of time, within limits of nights and solves."""
    found: list[Solved] = []
    for each in _nights_before(night):
        with contextlib.suppress(OmmxPrefectError):  # it was deleted in its registry
            most_solves -= each.solves()
            if most_solves < 0 or len(found) == most:
                break
            if read := each.load():
                found.insert(0, read)
    return found


def _nights_before(night: Night) -> Iterator[ComparableNight]:
    """Yield the nights before one, here and in the registry of its name, the last first."""
    series = Series.of_annotations(night.experiment.annotations, night.sealed.image_name)
    stage = stage_of(night.sealed.flow_run_id, night.sealed.composed_in or None)
    for each in nights_before(series, stage):
        yield _There(each) if isinstance(each, Composed) else _Here(each)


@dataclass(frozen=True)
class _Here:
    """A night of the Local Registry."""

    ref: ExperimentRef

    def solves(self) -> int:
        return solves_in(self.ref) - earlier_solves(self.ref.annotations)

    def load(self) -> Solved | None:
        opened = load_named(self.ref.image_name, self.ref.manifest_digest)
        return _of_experiment(self.ref.image_name, opened) if opened else None


@dataclass(frozen=True)
class _There:
    """A night of a registry."""

    composed: Composed

    @functools.cached_property
    def record(self) -> ExperimentRecord:
        return read_whole(self.composed.target, self.composed.subject.digest)

    def solves(self) -> int:
        return sum(len(run.solves) for _, run in own_runs(self.record))

    def load(self) -> Solved | None:
        if self.record.status != "finished":
            return None
        return _of_record(self.composed.image_name, self.record, self.composed.target)


def _of_experiment(image_name: str, experiment: Experiment) -> Solved:
    from ommx_prefect import analysis  # brings pandas, which a night without solves does not need

    flow_run_id = experiment.annotations.get(names.FLOW_RUN_ID, "")
    environments = analysis.environments_of(experiment)
    return Solved(image_name, flow_run_id, analysis.solves(experiment), environments)


def _of_record(image_name: str, record: ExperimentRecord, target: Target) -> Solved:
    from ommx_prefect.analysis._solves import table_of

    rows = [
        {"experiment": image_name, "run": run_id, **row}
        for run_id, run in own_runs(record)
        for row in _rows(run)
    ]
    flow_run_id = record.annotations.get(names.FLOW_RUN_ID, "")
    return Solved(image_name, flow_run_id, table_of(rows), list(_environments(record, target)))


def _rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    from ommx_prefect.analysis._logged import options_said, said_of_solve
    from ommx_prefect.analysis._solves import COLUMNS, row_without_solve

    known = run.parameters
    said = said_of_solve(known, COLUMNS)
    if len(run.solves) > 1 or "outcome" not in said or not isinstance(known.get("adapter"), str):
        return
    options = _options(run) if run.solves or run.samplings else options_said(known)
    told = {"reason": known.get("reason") or run.reason}
    yield {**row_without_solve(known, options), "cached": not run.solves, **told, **said}


def _options(run: RunRecord) -> Mapping[str, Any]:
    """Return the adapter options of its only call, which OMMX keeps as JSON in a text."""
    calls = [*run.solves, *run.samplings]
    options = calls[0].get("adapter_options") if len(calls) == 1 else None
    options = json.loads(options) if isinstance(options, str) else options
    return options if isinstance(options, Mapping) else {}


def _environments(record: ExperimentRecord, target: Target) -> Iterator[Mapping[str, Any]]:
    from ommx_prefect.analysis._environment import is_environment

    for name, layer in record.attachments.entries.items():
        if is_environment(name):
            with contextlib.suppress(OmmxPrefectError, ValueError):
                found = json.loads(target.read_blob(layer))
                if isinstance(found, dict):
                    yield found
