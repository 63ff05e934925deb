"""Decide once per process whether OMMX's Rust core sends spans to Python, which can hang.

OMMX 3.0.0b7 (pyo3-tracing-opentelemetry 0.3.2) exports each Rust span under a Rust lock, by calls
of Python that let go of the GIL. A second thread that ends a span in that moment waits for the lock
with the GIL held, and the process stands still for ever: two mapped solver tasks are enough, once a
TracerProvider is set, as `store_trace=True` does. The first traced call of OMMX makes the bridge to
Python, for good, and obeys RUST_LOG only then; two first calls at once can deadlock as well.

So this package makes the first call, in one thread:

| the process | OMMX's Rust spans |
|---|---|
| has no TracerProvider when this package is imported | off |
| has a task with `store_trace=True` | off, unless one has run before it |
| has a TracerProvider before, and no such task | sent, as OMMX does without this package |

Spans of OMMX's Python side and of its adapters are made as ever, and stored with `store_trace`.
Where a process with a TracerProvider solves in several threads, OMMX may stand still, with or
without this package: set `RUST_LOG=off` there before the first call of OMMX.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ommx import DecisionVariable, Instance, Sense
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

_lock = threading.Lock()
_is_bridge_made = False


def silence_unused_rust_spans() -> None:
    """Switch Rust's spans off where nobody has a TracerProvider that could take them."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        silence_rust_spans()


def silence_rust_spans() -> None:
    """Create the bridge from Rust's spans to Python's switched off, unless it exists already."""
    with _lock:
        if not _is_bridge_made:
            with _switched_off():
                _make_first_call()


def leave_rust_spans() -> None:
    """Create the bridge as OMMX does, in one thread, unless it exists already."""
    if not _is_bridge_made:
        with _lock:
            if not _is_bridge_made:
                _make_first_call()


@contextmanager
def _switched_off() -> Iterator[None]:
    before, get_provider = os.environ.get("RUST_LOG"), trace.get_tracer_provider
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())
    os.environ["RUST_LOG"] = "off"
    trace.get_tracer_provider = lambda: provider
    try:
        yield
    finally:
        trace.get_tracer_provider = get_provider
        if before is None:
            del os.environ["RUST_LOG"]
        else:
            os.environ["RUST_LOG"] = before


def _make_first_call() -> None:
    global _is_bridge_made
    x = DecisionVariable.binary(0)
    instance = Instance.from_components(
        decision_variables=[x], objective=x, constraints={}, sense=Sense.Minimize
    )
    instance.evaluate({0: 0.0})
    _is_bridge_made = True  # not before: other threads take it for leave to make theirs
