"""Show a seal in Prefect's UI: by two artifacts of the flow run, or by an event where it failed.

Artifacts are made with the client and the flow run's id: Prefect's own helpers attach them to
the flow run only in some hooks, and make nothing in a sync hook of an async flow.
"""

from __future__ import annotations

from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event

from ommx_prefect._format.decode import decode
from ommx_prefect._prefect.api import api_client
from ommx_prefect._prefect.log import warn
from ommx_prefect._prefect.states import describe_error
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._sealing.result import SealedExperiment, target_of_sealed
from ommx_prefect._sealing.runs_table import runs_table, table_text
from ommx_prefect._values.display import as_code, for_markdown, for_terminal

EXPERIMENT_KEY = "ommx-experiment"
RUNS_KEY = "ommx-runs"
FAILED_EVENT = "ommx-prefect.seal.failed"


def report_sealed(flow_run: FlowRun, sealed: SealedExperiment) -> None:
    """Attach the summary and the table of Runs to the flow run."""
    rows = runs_table(decode(target_of_sealed(sealed).read(sealed.manifest_digest)))
    table, fitting = table_text(rows)
    _attach(flow_run.id, EXPERIMENT_KEY, "markdown", summary(sealed, len(rows), fitting))
    if rows:
        _attach(flow_run.id, RUNS_KEY, "table", table)


def show_push(sealed: SealedExperiment) -> None:
    """Show anew a summary that a push has changed; a UI that cannot be told is no failure."""
    try:
        _attach(sealed.flow_run_id, EXPERIMENT_KEY, "markdown", summary(sealed))
    except Exception as error:
        warn(f"The UI was not told of the push: {describe_error(error)}")


def report_failure(flow_run: FlowRun, error: Exception) -> None:
    """Show a seal that failed where people look: an artifact and an event."""
    text = describe_error(error)
    try:
        _attach(
            flow_run.id,
            EXPERIMENT_KEY,
            "markdown",
            f"## Experiment not sealed\n\n{for_markdown(text)}\n",
        )
        resource = {
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.name": flow_run.name,
        }
        emit_event(FAILED_EVENT, resource=resource, payload={"error": text})
    except Exception:  # no API, no UI: the log has it
        return


def summary(sealed: SealedExperiment, rows: int = 0, fitting: int = 0) -> str:
    """Return the markdown a person wants to read the next morning."""
    runs = ", ".join(f"{count} {status}" for status, count in sealed.counts.items()) or "none"
    lines = [
        f"## Experiment {sealed.status}",
        "",
        f"| | |\n|---|---|\n| Image | {as_code(sealed.image_name)} |",
        f"| Digest | {as_code(sealed.manifest_digest)} |",
        f"| Runs | {runs} |",
        *_place_rows(sealed),
        "",
        "```python",
        "from ommx.experiment import Experiment",
        for_terminal(sealed.opens_with),
        "```",
    ]
    if rows > fitting:
        lines += ["", f"The table shows the first {fitting} of {rows} Runs, the worst first."]
    if sealed.push_problem:
        again = f"ommx_prefect.seal({sealed.flow_run_id!r})"
        lines += [
            "",
            "### Not pushed",
            "",
            for_markdown(sealed.push_problem),
            "",
            f"Push it by: `{again}`",
        ]
    if sealed.warnings:
        lines += [
            "",
            "### Warnings",
            "",
            *(f"- {for_markdown(warning)}" for warning in sealed.warnings),
        ]
    return "\n".join(lines) + "\n"


def _place_rows(sealed: SealedExperiment) -> list[str]:
    if sealed.composed_in:
        return ["| Registry | composed there |"]
    local = f"| Local Registry | {as_code(registry_root())} |"
    if sealed.pushed is None:
        return [local]
    if not sealed.pushed:
        return [local, "| Registry | **not pushed** |"]
    under = "" if sealed.status == "finished" else f" as {as_code(sealed.remote_name)}"
    return [local, f"| Registry | pushed{under} |"]


def _attach(flow_run_id: UUID | str, key: str, kind: str, data: str) -> None:
    owner = UUID(str(flow_run_id))
    artifact = ArtifactCreate(key=key, type=kind, data=data, flow_run_id=owner)
    with api_client() as client:
        client.create_artifact(artifact)
