"""The parts of an HTML report: its verdict, facts, failures, and cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from ommx.experiment import Experiment

from ommx_prefect._format.earlier import own
from ommx_prefect._registry.run_parameters import run_parameters
from ommx_prefect._shards import columns
from ommx_prefect._targets import annotations as names
from ommx_prefect.analysis._compare import Comparison
from ommx_prefect.analysis._solves import rows_of
from ommx_prefect.analysis._totals import PROVED, is_solved

# Column of the table of all solves -> its heading.
SOLVE_COLUMNS = {
    "run": "run",
    "instance": "instance",
    "adapter": "solver",
    "variant": "variant",
    "seed": "seed",
    "outcome": "outcome",
    "objective": "objective",
    "dual_bound": "dual bound",
    "gap": "gap",
    "seconds": "seconds",
    "limit": "limit",
    "nodes": "nodes",
    "iterations": "iterations",
    "primal_dual_integral": "integral",
    "host": "host",
    "reason": "reason",
}
# Of whom a failure is told -> the run parameter that says it.
WHOSE = {"task": columns.TASK, "attempt": columns.ATTEMPT}
# Outcomes that are an answer, if not always a proof.
ANSWERED = PROVED | {"feasible"}
FACTS = {
    **names.FLOW_RUN_FACTS,
    "page in Prefect": names.FLOW_RUN_URL,
    **names.VERSION_FACTS,
    **names.LOSS_FACTS,
}
# Significant digits of a number: of values that are compared, and of all others.
DIGITS = {"objective": 12, "dual_bound": 12}
FEW_DIGITS = 4


@dataclass(frozen=True)
class Verdict:
    """The verdict on an experiment, in a word and sentences; `level` is good, mixed or bad."""

    level: str
    word: str
    sentences: tuple[str, ...]


def verdict_of(
    night: Experiment,
    table: pd.DataFrame,
    wrong: pd.DataFrame,
    comparison: Comparison | None,
    failures: list[dict[str, Any]],
) -> Verdict:
    """Judge an experiment: bad where it failed, contradicts itself or became worse."""
    solved = int(is_solved(table).sum())
    worse = comparison.regressions if comparison else []
    said = [f"{solved} of {len(table)} solves ended with a proof."]
    said += _failed(failures)
    said += [f"Contradictions: {len(wrong)}."] if len(wrong) else []
    said += [f"Worse than in the earlier nights: {len(worse)}."] if worse else []
    if night.status not in (None, "finished"):
        return Verdict("bad", str(night.status), (str(night.lifecycle_reason or ""), *said))
    if len(wrong) or worse:
        word = "contradiction" if len(wrong) else "worse"
        return Verdict("bad", word, tuple(said))
    if failures or table.empty:  # a night that solved nothing is no good one
        return Verdict("mixed", "failures" if failures else "nothing was solved", tuple(said))
    return Verdict("good", "fine", tuple(said))


def _failed(failures: list[dict[str, Any]]) -> list[str]:
    """Say how many solves have no answer, and how many other Runs failed: a retry may be fine."""
    solves = sum(is_solve(each) for each in failures)
    others = len(failures) - solves
    said = [f"Solves without an answer: {solves}."] if solves else []
    return [*said, f"Other Runs that failed or were interrupted: {others}."] if others else said


def is_solve(failure: dict[str, Any]) -> bool:
    """Tell whether a failure is of a solve, and not of a Run that never came to one."""
    return "adapter" in failure


def facts_of(night: Experiment) -> dict[str, str]:
    """Return what the annotations of an experiment say of its flow run, by title."""
    said = names.told_of_flow_run(night.annotations)
    return {title: said[key] for title, key in FACTS.items() if said.get(key)}


def failures_of(night: Experiment, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the solves without an answer, and the Runs that failed without a solve."""
    bad = table[~table["outcome"].isin(ANSWERED)]
    rows = rows_of(bad[["run", "instance", "adapter", "variant", "outcome", "reason"]])
    seen = set(table["run"].dropna())
    for run in own(night.runs, night.annotations):
        if run.run_id not in seen and run.status in ("failed", "interrupted"):
            rows.append({"run": run.run_id, "outcome": run.status, "reason": run.lifecycle_reason})
    logged = run_parameters(night) if rows else {}
    for row in rows:
        row.update({title: logged[int(row["run"])].get(name) for title, name in WHOSE.items()})
    return sorted(rows, key=lambda row: int(row["run"]))


def filled(titles: Mapping[str, str], rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the columns in which some row has something."""
    empty = (None, "")
    return {
        key: title
        for key, title in titles.items()
        if any(row.get(key) not in empty for row in rows)
    }


def shown(value: Any, key: str = "") -> Any:
    """Return the text of a value in a cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{DIGITS.get(key, FEW_DIGITS)}g}"
    return "" if value is None else value


def flattened(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the leaves of nested objects by path: `solvers.highspy` -> `1.16.0`."""
    return dict(_leaves("", document))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), each)
    elif isinstance(value, list) and not any(isinstance(x, (Mapping, list)) for x in value):
        yield path, ", ".join(map(str, value))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(f"{path}.{number}", each)
    else:
        yield path, "" if value is None else str(value)
