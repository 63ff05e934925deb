"""Why OMMX's Rust core sends no spans to Python here: two threads that do hang the process.

OMMX 3.0.0b7 (pyo3-tracing-opentelemetry 0.3.2) exports each Rust span under a Rust lock, by calls
of Python that let go of the GIL. A second thread that ends a span in that moment waits for the lock
with the GIL held, and the process stands still for ever: two mapped solver tasks are enough, once a
TracerProvider is set (`store_trace=True` sets one). The bridge to Python is made once per process,
at the first traced call that finds a provider, and obeys RUST_LOG only then. So it is made at
import, switched off. Spans of OMMX's Python side and its adapters are stored as ever.
"""

from __future__ import annotations

import functools
import os

from ommx import DecisionVariable, Instance, Sense
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider


@functools.cache
def silence_rust_spans() -> None:
    """Make the bridge from Rust's spans to Python's, switched off, unless it is made already."""
    before, get_provider = os.environ.get("RUST_LOG"), trace.get_tracer_provider
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())
    os.environ["RUST_LOG"] = "off"
    trace.get_tracer_provider = lambda: provider
    try:
        _make_a_traced_call()
    finally:
        trace.get_tracer_provider = get_provider
        if before is None:
            del os.environ["RUST_LOG"]
        else:
            os.environ["RUST_LOG"] = before


def _make_a_traced_call() -> None:
    x = DecisionVariable.binary(0)
    instance = Instance.from_components(
        decision_variables=[x], objective=x, constraints={}, sense=Sense.Minimize
    )
    instance.evaluate({0: 0.0})
