"""What this package adds to the traces of the user, and takes from them: nothing, unless asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.tiers import full

SCRIPT = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

from ommx import DecisionVariable, Instance, Sense
from ommx_prefect import current_run, task

@task({options})
def work(fails):
    current_run().log_parameter("fails", fails)
    x = DecisionVariable.binary(0)
    with provider.get_tracer("user").start_as_current_span("of the user"):
        Instance.from_components(
            decision_variables=[x], objective=x, constraints={{}}, sense=Sense.Minimize
        ).evaluate({{0: 0.0}})
    if fails:
        raise RuntimeError("no")

for fails in (False, True):
    work(fails, return_state=True)
print(json.dumps(sorted({{span.name for span in exporter.get_finished_spans()}})))
"""


def names_of_spans(server: str, options: str) -> set[str]:
    env = {
        **os.environ,
        "PREFECT_API_URL": server,
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(options=options)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("options", ["", *full("log_output=False")])
def test_a_recorded_task_adds_no_span_and_leaves_ommxs_own(server, options):
    names = names_of_spans(server, options)
    assert "Run" not in names
    assert {"of the user", "evaluate"} <= names


def test_with_store_trace_there_is_a_span_of_the_run_and_none_of_ommxs_rust_core(server):
    names = names_of_spans(server, "store_trace=True")
    assert {"of the user", "Run"} <= names
    assert "evaluate" not in names
