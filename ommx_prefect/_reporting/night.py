"""Collect what is reported of a sealed flow run, read once for events and pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from prefect.client.schemas.objects import FlowRun

from ommx_prefect._format.earlier import own_runs
from ommx_prefect._format.model import UNWELL, ExperimentRecord, RunRecord
from ommx_prefect._prefect.api import find_deployment_name
from ommx_prefect._sealing.result import SealedExperiment, target_of_sealed
from ommx_prefect._targets.whole import read_whole
from ommx_prefect._values.secrets import redact_known


@dataclass(frozen=True)
class FlowRunFacts:
    """A flow run, its flow and its deployment, by id and name; empty where there is none.

    `mend` is what mends its seal, where that is another command than usual; `kind` is what Prefect
    calls it: a task run outside flows has an experiment, too.
    """

    flow_run_id: str
    flow_run_name: str
    flow_id: str
    flow_name: str
    deployment_id: str = ""
    deployment_name: str = ""
    mend: str = ""
    kind: Literal["flow-run", "task-run"] = "flow-run"

    @property
    def command(self) -> str:
        """The command to run after a failed seal or push."""
        return self.mend or f"ommx-prefect seal {self.flow_run_id}"


@dataclass(frozen=True)
class Night:
    """A flow run that was sealed, and what its artifact says."""

    facts: FlowRunFacts
    sealed: SealedExperiment

    @cached_property
    def experiment(self) -> ExperimentRecord:
        """The experiment's records, from the bytes that were stored."""
        return read_whole(target_of_sealed(self.sealed), self.sealed.manifest_digest)

    @cached_property
    def runs(self) -> list[tuple[int, RunRecord]]:
        """Its own Runs with their ids, without those of earlier nights in the experiment."""
        return own_runs(self.experiment)

    def unwell(self) -> Iterator[tuple[int, RunRecord]]:
        """Return the Runs that failed or were interrupted by id, the worst first."""
        for status in UNWELL:
            for run_id, run in self.runs:
                if run.status == status:
                    yield run_id, run


def facts_of(flow_run: FlowRun, flow_name: str) -> FlowRunFacts:
    """Collect what events and pages say of a flow run; it asks Prefect for a deployment's name."""
    deployment_id = str(flow_run.deployment_id or "")
    return FlowRunFacts(
        flow_run_id=str(flow_run.id),
        flow_run_name=redact_known(flow_run.name),
        flow_id=str(flow_run.flow_id or ""),
        flow_name=flow_name,
        deployment_id=deployment_id,
        deployment_name=find_deployment_name(deployment_id),
    )
