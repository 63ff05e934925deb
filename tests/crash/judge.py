"""What must be in a sealed experiment, by a journal that is not ours.

A flow and its tasks append lines to a journal, each on the disk before the next statement runs:

    flow <flow run id> <pid>          the flow began
    began <x> <task run id> <pid>     an execution of step x is in its function
    ended <x> <status>                the call, or the future, of step x has come back
    full                              (the suite's) from here on the disk takes nothing more

Every execution that began must have a Run. A step that ended must have exactly one Run that
counts, with its status; a step that was cut off at most one, finished (its end was not written
down any more) or interrupted. Runs of executions that were done again are marked Superseded.
Of what ended after the disk was full, the payload is not demanded: no output, but a Run.

    python tests/crash/judge.py <flow run id, or image name>

prints what a process with another Local Registry finds there, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

SUPERSEDED = "Superseded"
CACHED = "Cached"
CUT_OFF = ("finished", "interrupted")


@dataclasses.dataclass
class Row:
    """One line of the table."""

    where: str
    times: int = 0
    ended: int = 0
    found: int = 0
    interrupted: int = 0
    superseded: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    problems: list[str] = dataclasses.field(default_factory=list)
    skipped: str = ""

    @property
    def is_good(self) -> bool:
        """Nothing lost, nothing doubled, nothing odd, and something was looked at."""
        if self.skipped:
            return True
        return self.ended > 0 and not (self.lost or self.doubled or self.problems)

    def judge(self, journal: Path, found: Found) -> None:
        """Compare what was found with the journal of its flow run."""
        wanted = Wanted.of(journal)
        self.times += 1
        self.ended += len(wanted.ended)
        self.found += len(found.runs)
        self.interrupted += sum(run.status == "interrupted" for run in found.runs)
        self.superseded += sum(not run.counts for run in found.runs)
        self.blame(journal.name, wanted.missing_in(found.runs), wanted.too_many_in(found.runs))

    def blame(self, where: str, lost: Iterable[object], doubled: Iterable[object]) -> None:
        """Note what is lost, and what is there twice."""
        lost, doubled = list(lost), list(doubled)
        self.lost += len(lost)
        self.doubled += len(doubled)
        if lost or doubled:
            self.problems.append(f"{where}: lost {lost}, doubled {doubled}")


@dataclasses.dataclass(frozen=True)
class FoundRun:
    """A Run of a sealed experiment."""

    task_run_id: str
    attempt: int
    status: str
    state: str
    has_output: bool

    @property
    def counts(self) -> bool:
        """It is no execution that was done again."""
        return self.state != SUPERSEDED


@dataclasses.dataclass(frozen=True)
class Found:
    """A sealed experiment."""

    status: str
    runs: tuple[FoundRun, ...]
    degraded: str

    @classmethod
    def here(cls, name: str) -> Found:
        """Open what is sealed under a flow run's id, or an image name, and read its payload."""
        from ommx.experiment import Experiment

        from ommx_prefect import load_experiment

        experiment = Experiment.load(name) if "/" in name else load_experiment(name)
        degraded = experiment.annotations.get("org.ommx-prefect.degraded", "")
        return cls(experiment.status, tuple(_runs_of(experiment)), degraded)

    @classmethod
    def in_registry(cls, registry: Path, name: str) -> Found:
        """The same in another Local Registry, which a process has for life."""
        env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(registry)}
        command = [sys.executable, __file__, name]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
        if done.returncode != 0:
            raise AssertionError(done.stderr[-2000:])
        document = json.loads(done.stdout)
        runs = tuple(FoundRun(**run) for run in document["runs"])
        return cls(document["status"], runs, document["degraded"])


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a journal demands: how often each task run began, and how those that ended did.

    Attributes:
        began: How often each task run began.
        ended: How task runs ended.
        without_output: Those whose output has found no place.
    """

    began: Counter[str]
    ended: dict[str, str]
    without_output: frozenset[str]

    @classmethod
    def of(cls, journal: Path) -> Wanted:
        began: Counter[str] = Counter()
        ended: dict[str, str] = {}
        kept: frozenset[str] | None = None
        last: dict[str, str] = {}
        for kind, *words in lines_of(journal):
            if kind == "full":
                kept = frozenset(ended)
            elif kind == "began":
                last[words[0]] = words[1]
                began[words[1]] += 1
            elif kind == "ended":
                ended[last[words[0]]] = words[1]
        return cls(began, ended, frozenset() if kept is None else frozenset(ended) - kept)

    def missing_in(self, runs: Sequence[FoundRun]) -> Iterator[str]:
        """Name the executions that have no Run, and the steps whose Run says something else."""
        found = Counter(run.task_run_id for run in runs)
        for task_run_id, times in self.began.items():
            if found[task_run_id] < times:
                yield f"{task_run_id}: {found[task_run_id]} Runs of {times} executions"
            else:
                yield from self._misjudged(task_run_id, runs)

    def _misjudged(self, task_run_id: str, runs: Sequence[FoundRun]) -> Iterator[str]:
        allowed = (self.ended[task_run_id],) if task_run_id in self.ended else CUT_OFF
        said = [run for run in runs if run.task_run_id == task_run_id and run.counts]
        if not {run.status for run in said} & set(allowed):
            yield f"{task_run_id}: {said}, not {allowed}"
        elif task_run_id in self.ended.keys() - self.without_output and not any(
            run.has_output or run.status != "finished" for run in said
        ):
            yield f"{task_run_id}: its output"

    def too_many_in(self, runs: Sequence[FoundRun]) -> Iterator[str]:
        """Name the attempts of which more than one Run counts, and Runs of no execution."""
        counted = Counter((run.task_run_id, run.attempt) for run in runs if run.counts)
        yield from (f"{key}: {times} Runs" for key, times in counted.items() if times > 1)
        # One that was cut off may not have come to say that it began.
        ran = Counter(
            x.task_run_id for x in runs if x.status != "interrupted" and x.state != CACHED
        )
        for task_run_id, times in ran.items():
            if times > self.began[task_run_id]:
                yield f"{task_run_id}: {times} Runs of {self.began[task_run_id]} executions"


def lines_of(journal: Path) -> Iterator[list[str]]:
    """Read the lines of a journal that are whole."""
    if journal.exists():
        for line in journal.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield line.split()


def _runs_of(experiment: Any) -> Iterator[FoundRun]:
    frame = experiment.run_parameters_df()
    for run in experiment.runs:
        row = frame.loc[run.run_id]
        has_output = "output" in run.attachment_names and "x" in run.get_json("output")
        yield FoundRun(
            task_run_id=str(row["prefect.task_run_id"]),
            attempt=int(row["prefect.attempt"]),
            status=run.status,
            state=str(row["prefect.state"]),
            has_output=has_output,
        )


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(Found.here(sys.argv[1]))))
