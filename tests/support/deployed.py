"""The deployments of `flows/prefect.yaml` on a server, and a process worker that runs them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import AwaitingRetry

from tests.support.started import until

FLOWS = Path(__file__).parents[2] / "flows"
POOL = "nightly"
# Of a flow run: it begins with a process that imports everything.
PATIENCE_SECONDS = 600


@dataclass
class Deployed:
    """What was deployed, and how its flow runs are started and read."""

    client: SyncPrefectClient
    registry: Path
    environment: Mapping[str, str]

    def id_of(self, name: str) -> UUID:
        """Return the id of a deployment by `flow/deployment`."""
        return self.client.read_deployment_by_name(name).id

    def start(self, name: str, **parameters: Any) -> UUID:
        """Start a flow run of a deployment, as somebody in the UI does."""
        return self.client.create_flow_run_from_deployment(
            self.id_of(name), parameters=parameters
        ).id

    def ended(self, flow_run_id: UUID, run_count: int = 1) -> FlowRun:
        """Wait until a flow run has ended for the so-many-th time."""

        def ask() -> FlowRun | None:
            found = self.client.read_flow_run(flow_run_id)
            is_over = found.state is not None and found.state.is_final()
            return found if is_over and found.run_count >= run_count else None

        return until(ask, PATIENCE_SECONDS)

    def run(self, name: str, **parameters: Any) -> FlowRun:
        """Run a flow of a deployment to its end."""
        return self.ended(self.start(name, **parameters))

    def retry(self, flow_run_id: UUID) -> FlowRun:
        """Retry a flow run, as the UI does."""
        count = self.client.read_flow_run(flow_run_id).run_count
        self.client.set_flow_run_state(flow_run_id, AwaitingRetry(), force=True)
        return self.ended(flow_run_id, count + 1)

    def kill(self, flow_run_id: UUID) -> None:
        """Kill the process of a flow run, as the kernel does where memory is short."""
        pid = str(self.client.read_flow_run(flow_run_id).infrastructure_pid).rpartition(":")[2]
        os.kill(int(pid), signal.SIGKILL)

    def subflows(self, flow_run_id: UUID) -> list[FlowRun]:
        """Return the subflow runs of a flow run, in order of time."""
        parent = FlowRunFilterParentFlowRunId(any_=[flow_run_id])
        return self._flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=parent))

    def runs_of(self, name: str) -> list[FlowRun]:
        """Return the flow runs of a deployment, in order of time."""
        which = DeploymentFilter(id=DeploymentFilterId(any_=[self.id_of(name)]))
        return self._flow_runs(deployment_filter=which)

    def _flow_runs(self, **filters: Any) -> list[FlowRun]:
        order = FlowRunSort.EXPECTED_START_TIME_ASC
        found: list[FlowRun] = self.client.read_flow_runs(**filters, sort=order, limit=200)
        return found

    def artifacts(self, flow_run_id: UUID) -> dict[str, Artifact]:
        """Return the newest artifact of a flow run under each key."""
        which = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        found = self.client.read_artifacts(
            artifact_filter=which, sort=ArtifactSort.CREATED_DESC, limit=200
        )
        return {each.key: each for each in reversed(found) if each.key}

    def command(self, *arguments: str) -> str:
        """Return what our command line says of the worker's Local Registry."""
        return _python("ommx_prefect", *arguments, env=self.environment)

    def automation(self, name: str) -> Automation:
        """Return an automation by its name."""
        found = self.client.read_automations(limit=200)
        return next(each for each in found if each.name == name)

    def fires_within(self, name: str, window: timedelta) -> None:
        """Shorten the time of an automation that fires where no event came."""
        found = self.automation(name)
        changed = found.model_dump(mode="json", exclude={"id", "owner_resource"})
        changed["trigger"]["within"] = window.total_seconds()
        self.client.update_automation(found.id, AutomationCore.model_validate(changed))


@contextlib.contextmanager
def deployed(server: str, folder: Path) -> Iterator[Deployed]:
    """Deploy a copy of the flows, with a worker and a Local Registry of its own, for a block."""
    flows = folder / "flows"
    shutil.copytree(FLOWS, flows, ignore=shutil.ignore_patterns("__pycache__", "reports"))
    environment = {
        **os.environ,
        "PREFECT_API_URL": server,
        "NIGHTLY_FOLDER": str(flows),
        "OMMX_LOCAL_REGISTRY_ROOT": str(folder / "registry"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        _python("prefect", "--no-prompt", "deploy", "--all", cwd=flows, env=environment)
        _stop_schedules(client)
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
        with (folder / "worker.log").open("wb") as file:
            process = subprocess.Popen(worker, env=environment, stdout=file, stderr=file)
        try:
            yield Deployed(client, folder / "registry", environment)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(240)
            for each in client.read_automations(limit=200):
                client.delete_automation(each.id)


def _python(*arguments: str, **options: Any) -> str:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _stop_schedules(client: SyncPrefectClient) -> None:
    """Let nothing start but what a test starts."""
    for each in client.read_deployments(limit=200):
        for schedule in each.schedules:
            client.update_deployment_schedule(each.id, schedule.id, active=False)
