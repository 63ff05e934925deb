"""How tests run a flow and read back what it sealed, with plain `ommx`, and what its page shows."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ommx.artifact import Artifact
from ommx.experiment import Experiment, SealedRun
from prefect import Flow, State, flow_engine
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.sorting import ArtifactSort
from prefect.states import AwaitingRetry

from ommx_prefect import load_experiment
from ommx_prefect._prefect.api import read_task_runs

# How long a busy server may take for what it takes in at once when it is idle.
PATIENCE_SECONDS = 240
# What a flow run shows, by the type of the artifact: its key has the name of the flow.
KEYS = {"markdown": "ommx-experiment", "table": "ommx-runs"}


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


def await_final(flow_run_id: str, count: int) -> None:
    """Wait until Prefect lists so many task runs of a flow run that have ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with get_client(sync_client=True) as client:
            rows = read_task_runs(client, [flow_run_id])
        if sum(row.is_final for row in rows) >= count:
            return
        time.sleep(0.2)
    raise AssertionError(f"Prefect lists {rows}")


def as_rendered(markdown: str) -> str:
    """Return what is to be read of escaped markdown: each escaped character as itself."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


def shown_of(flow_run_id: str) -> dict[str, str]:
    """What the page of a flow run shows; the newest of each, as it is rendered.

    The keys are `ommx-experiment` and `ommx-runs`, whatever the flow is called.
    """
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[uuid.UUID(flow_run_id)]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=200
        )
    return {
        KEYS.get(str(artifact.type), str(artifact.key)): (
            as_rendered(str(artifact.data)) if artifact.type == "markdown" else str(artifact.data)
        )
        for artifact in reversed(found)
        if artifact.key is not None
    }


def secrets_in(image_name: str, tmp_path: Path, secrets: list[str]) -> list[str]:
    """Search every byte of an artifact, compressed layers included."""
    archive = tmp_path / "artifact.ommx"
    artifact = Artifact.load(image_name)
    artifact.save(archive)
    blobs = [archive.read_bytes(), *(artifact.get_blob(layer) for layer in artifact.layers)]
    return [secret for secret in secrets if any(secret.encode() in blob for blob in blobs)]


def run_again(flow: Flow[..., Any], flow_run_id: str, **parameters: Any) -> None:
    """Retry a flow run, as the UI does."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(flow_run_id), AwaitingRetry(), force=True)
        flow_run = client.read_flow_run(uuid.UUID(flow_run_id))
    with contextlib.suppress(ValueError):
        flow_engine.run_flow(flow, flow_run=flow_run, parameters=parameters or None)
