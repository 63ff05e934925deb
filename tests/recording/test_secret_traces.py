"""A trace that shows a secret is not stored, and its Run says so."""

from __future__ import annotations

import uuid

import pytest
from opentelemetry import trace

from ommx_prefect import current_run
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards.archive import payload_layers
from tests.recording.test_output import attempt_of, sealed_run

SECRET = "s3cr3t-abcdefghijklmnopqrstuvwxyz"
TRACE = "application/org.ommx.trace.otlp+protobuf"
LEFT_OUT = "its trace is not stored: it shows a secret"


def traced(said: str, error: Exception | None = None) -> Recording:
    """Record an attempt with a span of the user's in its trace."""
    options = RecordingOptions(store_trace=True)
    arguments = {"api_key": SECRET, "plain": 1}
    recording = Recording(attempt_of(str(uuid.uuid4())), options, arguments)
    tracer = trace.get_tracer("of the user")
    try:
        with recording, recording.active():
            with tracer.start_as_current_span("call", attributes={"said": said}):
                current_run().log_parameter("logged", 1)
                if error is not None:
                    raise error
            recording.returned({"x": 1})
    except ValueError:
        pass
    return recording


def is_in_registry(text: str) -> bool:
    # Not OMMX's index: where a process closes a file of SQLite's that it has open itself, its locks
    # on it are gone, and the index is damaged.
    files = (path for path in registry_root().glob("*/**/*") if path.is_file())
    return any(text.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("said", "error", "secret"),
    [
        (f"https://x/?k={SECRET}", None, SECRET),
        ("", ValueError(f"login failed with {SECRET}"), SECRET),
        ("postgres://user:{}@host/db", None, None),
    ],
    ids=["attribute", "exception", "URL"],
)
def test_a_trace_that_shows_a_secret_is_not_stored(said, error, secret):
    secret = secret or uuid.uuid4().hex
    recording = traced(said.format(secret), error)
    documents = recording.record.open_run.documents
    assert TRACE not in {layer.media_type for layer in payload_layers(documents)}
    assert LEFT_OUT in recording.faults.notes
    assert not is_in_registry(secret)
    run = sealed_run(recording.attempt)
    assert run.trace is None
    assert error is not None or run.get_json("output") == {"x": 1}


def test_a_trace_that_shows_none_is_stored():
    recording = traced("nothing")
    assert recording.faults.notes == []
    assert sealed_run(recording.attempt).trace is not None
