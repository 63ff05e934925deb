"""A night that compares itself: solve, seal, compare with the nights before, then green or red.

`flows/prefect.yaml` deploys it: every night by cron, a report when a night is sealed, recovery
every 15 minutes, a clean-up every week. By hand: `python flows/nightly.py`.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

from benchmark_inputs import generated, read_all
from prefect import flow as plain_flow
from prefect import get_run_logger
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run as this_flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from ommx_prefect import (
    analysis,
    current_experiment,
    earlier_experiments,
    flow,
    load_experiment,
)
from ommx_prefect.instances import NamedInstance
from ommx_prefect.solvers import solve

Solver = Literal["highs", "scip", "python-mip"]
EXPERIMENT = "localhost/nightly"


class Night(BaseModel):
    """What a night solves, and what makes it red; the run form of Prefect's UI shows this."""

    model_config = ConfigDict(extra="forbid")

    sources: list[str] | None = Field(
        default=None,
        description="MPS, QPLIB and OMMX files and folders; empty for seeded hard instances.",
    )
    solvers: list[Solver] = Field(default=["highs", "scip"], min_length=1)
    time_limit_seconds: float = Field(
        default=5.0, gt=0, le=86_400, description="Limit of each solve, on the solver's clock."
    )
    options: dict[Solver, dict[str, Any]] = Field(
        default={}, description="Options of solvers, under each solver's own names."
    )
    seed: int = Field(default=0, ge=0, description="Random seed of every solver.")
    experiment: str = Field(
        default=EXPERIMENT, description="Image name; without a tag each night gets its own."
    )
    nights: int = Field(default=3, ge=1, le=30, description="Earlier nights to compare with.")
    time_threshold: float = Field(
        default=1.2, gt=1, description="From which ratio of mean times a night is red."
    )


DEFAULT = Night()


def image_name(flow_run: FlowRun) -> str:
    """Return the image name that a night was given."""
    given = flow_run.parameters.get("night")
    name = given.get("experiment") if isinstance(given, dict) else getattr(given, "experiment", "")
    return name or EXPERIMENT


@flow(
    name="nightly-solves",
    experiment=image_name,
    lineage="previous",
    task_runner=ThreadPoolTaskRunner(max_workers=2),
)
def nightly_solves(night: Night) -> str:
    """Solve every instance with every solver; each solve is a Run of one experiment.

    Each task run has the tag `licence-<solver>`, by which a concurrency limit of Prefect keeps to
    the number of licences: `prefect concurrency-limit create licence-scip 1`.
    """
    instances, unreadable = read_all(night.sources) if night.sources else (generated(), [])
    current_experiment().log_json("night", night.model_dump())
    futures = [
        solve_one(named, solver, night) for named, solver in product(instances, night.solvers)
    ]
    for future in futures:
        future.wait()  # what failed is a Run with its reason, and the night goes on
    if unreadable or not instances:
        names = ", ".join(each.name for each in unreadable[:10])
        raise ValueError(f"{len(unreadable)} sources hold no instance: {names}")
    return str(this_flow_run.id)


def solve_one(named: NamedInstance, solver: Solver, night: Night) -> Any:
    """Submit one solve under the tag of its solver's licence."""
    tagged = solve.with_options(tags={f"licence-{solver}"})
    options = night.options.get(solver, {})
    return tagged.submit(
        solver,
        named.instance,
        time_limit_seconds=night.time_limit_seconds,
        seed=night.seed,
        **({"options": options} if options else {}),
    )


@plain_flow(name="nightly")
def nightly(night: Night = DEFAULT) -> None:
    """Solve and seal, compare with the nights before, and fail where something became worse.

    Args:
        night: What is solved, how long, and what counts as worse.
    """
    flow_run_id = nightly_solves(night)
    worse = compare_with_earlier(flow_run_id, night)
    if worse:
        raise RuntimeError(f"{len(worse)} worse than the nights before: " + "; ".join(worse[:20]))


def compare_with_earlier(flow_run_id: str, night: Night) -> list[str]:
    """Return sentences about what became worse or contradicts, each naming instance and solver."""
    log = get_run_logger()
    sealed = load_experiment(flow_run_id)
    # A solver is compared with itself, also where its options have changed.
    table = analysis.solves(sealed).assign(variant="")
    earlier = earlier_experiments(flow_run_id, night.nights)
    before = [analysis.solves(each).assign(variant="") for each in earlier]
    said = [
        f"{x.instance}: {x.claim_by} says {x.claim}, {x.against_by} says {x.against}"
        for x in analysis.contradictions(table, earlier=before).itertuples()
    ]
    if not earlier:
        log.info("There is no earlier night to compare with.")
        return said
    compared = analysis.compare(
        before,
        table,
        environments=[analysis.environments_of(each) for each in [*earlier, sealed]],
        time_threshold=night.time_threshold,
    )
    log.info("Compared with %d nights: %s", len(earlier), compared.counts)
    for why in compared.not_comparable:
        log.warning("Times are not compared: %s", why)
    return [*said, *compared.regressions]


if __name__ == "__main__":
    nightly()
