"""Keep OMMX from adding this package's spans to the user's OpenTelemetry traces.

OMMX 3.0.0b7 makes a span `Run` for the time between a Run's `__enter__` and `__exit__`, by whatever
TracerProvider the process has, and only `__exit__` can give a Run another status than finished. So
both are called below a span that is not sampled: a provider whose sampler follows the parent, as
all of OpenTelemetry's do by default, then records nothing. What remains: a provider with a sampler
that ignores parents (a bare `ALWAYS_ON`) still sees the span, in a trace of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from opentelemetry import context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

# Valid ids of nothing; trace flags are 0: not sampled.
_UNSAMPLED = NonRecordingSpan(SpanContext(trace_id=1, span_id=1, is_remote=False))


@contextlib.contextmanager
def without_spans() -> Iterator[None]:
    """Make spans that start in the block no part of any trace."""
    token = context.attach(set_span_in_context(_UNSAMPLED))
    try:
        yield
    finally:
        context.detach(token)
