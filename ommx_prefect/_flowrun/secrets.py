"""Pass the secrets known in a flow run on to its tasks and subflows, wherever they run.

| what is secret | how it gets there |
|---|---|
| among a flow run's own parameters | Prefect hands the parameters to its tasks |
| in what is around it, and in blocks that its body loads | in its FlowRun object, see `CARRIED` |
| in the root, where plain subflows are between | by the root's id: in its process, or in the API |
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from pydantic import SecretStr

from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._prefect.api import api_client
from ommx_prefect._values.secrets import Redactor

# A key of `FlowRun.context`, which Prefect carries to workers, and does not send to its API. Texts
# are hidden as SecretStr where somebody prints it.
CARRIED = "org.ommx-prefect.secrets"
MOST_FLOW_RUNS = 1_000

# What is secret around this, in this thread: of the recorded flows whose bodies run here.
_around: ContextVar[frozenset[str]] = ContextVar("ommx_prefect_secrets", default=frozenset())
# What is secret in root flow runs that began in this process.
_of_roots: Bounded[str, frozenset[str]] = Bounded(MOST_FLOW_RUNS)


def secrets_around() -> frozenset[str]:
    """Return what is secret in the recorded flows whose bodies run around this."""
    return _around.get()


@contextlib.contextmanager
def handed_on(flow_run: FlowRun, parameters: Any, inherited: Iterable[str]) -> Iterator[None]:
    """Make the secrets of a flow run, its own and inherited ones, known to all inside the block."""
    inherited = frozenset(inherited)
    _carry(flow_run, inherited)
    token = _around.set(inherited | Redactor(parameters).texts)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a generator flow may end in another context
            _around.reset(token)


def remember_root(flow_run_id: str, parameters: Any) -> None:
    """Remember the secrets of a flow run for its plain subflows, which learn them no other way."""
    _of_roots[flow_run_id] = frozenset(Redactor(parameters).texts)


def add_to_flow_run(secrets: Iterable[str]) -> None:
    """Add secrets that a flow's body has just learnt, by loading a block for example."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        _carry(context.flow_run, frozenset(secrets))
    _around.set(_around.get() | frozenset(secrets))


def secrets_of_flow_run(root_flow_run_id: str = "") -> frozenset[str]:
    """Return what is secret in the flow run here, and in those around it."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if context is None or flow_run is None:
        return _around.get()
    own = _secrets_of(str(flow_run.id)) | _carried(flow_run) | _around.get()
    if root_flow_run_id in ("", str(flow_run.id)) or CARRIED in flow_run.context:
        return own
    known = _of_roots.get(root_flow_run_id)
    return own | (_secrets_in_api(root_flow_run_id) if known is None else known)


@functools.lru_cache(maxsize=MOST_FLOW_RUNS)
def _secrets_of(flow_run_id: str) -> frozenset[str]:
    context = FlowRunContext.get()
    return frozenset(Redactor(context.parameters if context else None).texts)


def _secrets_in_api(flow_run_id: str) -> frozenset[str]:
    try:
        return _asked_secrets(flow_run_id)
    except Exception:  # no API: what its subflow knows has to do
        return frozenset()


@functools.lru_cache(maxsize=MOST_FLOW_RUNS)
def _asked_secrets(flow_run_id: str) -> frozenset[str]:
    """Ask once per flow run; what raises is not remembered, and so is asked again."""
    with api_client() as client:
        parameters = client.read_flow_run(UUID(flow_run_id)).parameters
    return frozenset(Redactor(parameters).texts)


def _carry(flow_run: FlowRun, secrets: frozenset[str]) -> None:
    carried = [SecretStr(text) for text in sorted(secrets | _carried(flow_run))]
    flow_run.context = {**flow_run.context, CARRIED: carried}


def _carried(flow_run: FlowRun) -> frozenset[str]:
    found = flow_run.context.get(CARRIED, ())
    return frozenset(x.get_secret_value() for x in found if isinstance(x, SecretStr))
