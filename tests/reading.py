"""How tests run a flow and read back what it sealed, with plain `ommx`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ommx.experiment import Experiment, SealedRun
from prefect import Flow, State

from ommx_prefect import load_experiment


@dataclass
class Sealed:
    """A flow run, and the experiment that stands in the Local Registry."""

    state: State
    flow_run_id: str

    @cached_property
    def experiment(self) -> Experiment:
        return load_experiment(self.flow_run_id)

    @property
    def runs(self) -> list[SealedRun]:
        return self.experiment.runs

    @property
    def statuses(self) -> list[str]:
        return [run.status for run in self.runs]

    @property
    def ledger(self) -> dict[str, Any]:
        return self.experiment.get_json("ledger")

    def column(self, name: str) -> list[Any]:
        """A run parameter of all Runs; None where a Run has none."""
        frame = self.experiment.run_parameters_df()
        if name not in frame.columns:
            return [None] * len(self.runs)
        return [None if value != value or value is None else value for value in _cells(frame[name])]


def _cells(series: Any) -> list[Any]:
    return series.astype(object).where(series.notna(), None).tolist()


def run_flow(flow: Flow[..., Any], *args: Any, **kwargs: Any) -> Sealed:
    """Run a flow to its end and return its state and experiment."""
    state = flow(*args, return_state=True, **kwargs)
    return sealed_of(state)


def sealed_of(state: State) -> Sealed:
    return Sealed(state, str(state.state_details.flow_run_id))
