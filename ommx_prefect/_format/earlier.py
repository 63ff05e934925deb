"""Separate an experiment's own Runs from those of earlier nights that it also holds.

An accumulated experiment has the Runs of earlier nights first, under the ids that they had there,
and its own after them. Annotations say how many are not its own; without them all are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from ommx_prefect._format.columns import logged_names, split_columns
from ommx_prefect._format.model import ExperimentRecord, RunRecord

# The Runs, and the Solves in them, that are those of nights before.
EARLIER_RUNS = "org.ommx-prefect.earlier-runs"
EARLIER_SOLVES = "org.ommx-prefect.earlier-solves"

_COUNT = re.compile("[0-9]{1,9}")


class _Numbered(Protocol):
    @property
    def run_id(self) -> int: ...


R = TypeVar("R", bound=_Numbered)


def first_own_run(annotations: Mapping[str, str]) -> int:
    """Return the id of the first Run that is an experiment's own."""
    return _count(annotations, EARLIER_RUNS)


def earlier_solves(annotations: Mapping[str, str]) -> int:
    """Return how many Solves of an experiment are those of nights before."""
    return _count(annotations, EARLIER_SOLVES)


def own_runs(experiment: ExperimentRecord) -> list[tuple[int, RunRecord]]:
    """Return the Runs of an experiment that are its own, with their ids.

    Their parameters have the names by which they were logged.
    """
    split = split_columns({name for run in experiment.runs for name in run.parameters})
    runs = list(enumerate(experiment.runs))[first_own_run(experiment.annotations) :]
    if not split:
        return runs
    return [(x, replace(run, parameters=logged_names(run.parameters, split))) for x, run in runs]


def own(runs: Iterable[R], annotations: Mapping[str, str]) -> list[R]:
    """Return the Runs that are the experiment's own, as OMMX lists them.

    Args:
        runs: All Runs of an experiment.
        annotations: Its annotations, which tell how many are of earlier nights.
    """
    first = first_own_run(annotations)
    return [run for run in runs if run.run_id >= first]


def _count(annotations: Mapping[str, str], name: str) -> int:
    found = annotations.get(name, "")
    return int(found) if _COUNT.fullmatch(found) else 0
