"""Attach the experiment's settings to a flow: one object among its state hooks.

Prefect calls hooks with the keywords `flow, flow_run, state`, in whatever process it finds itself,
perhaps twice, perhaps never.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, get_args

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import FlowStateHook

from ommx_prefect._decorators.seal_hook import seal_in_hook
from ommx_prefect._decorators.unknown_options import refuse_no_switch, with_known_options
from ommx_prefect._flowrun.image_name import NameSource
from ommx_prefect._flowrun.settings import SEALING_HOOKS, ExperimentSettings
from ommx_prefect._flowrun.start import open_in_hook
from ommx_prefect._oci.names import is_tag
from ommx_prefect._reporting.progress import begin_progress, end_progress
from ommx_prefect._stages.address import BLOCK_NAME, checked_stage
from ommx_prefect._stages.documents import Lineage
from ommx_prefect.exceptions import InvalidImageNameError


def checked(experiment: object) -> NameSource:
    """Return what was given as `experiment`, or raise InvalidImageNameError."""
    if experiment is None or isinstance(experiment, str) or callable(experiment):
        return experiment
    raise InvalidImageNameError(repr(experiment), "it is neither text, nor a callable, nor None")


def checked_push(push: bool | None, experiment: NameSource, registry: str | None) -> bool | None:
    """Return what was given as `push`, or raise InvalidImageNameError where there is no place."""
    if push and experiment is None and registry is None:
        reason = "it needs experiment=, a name that says where to push to"
        raise InvalidImageNameError("True", reason, "push")
    return push


def checked_registry(registry: str | None) -> str | None:
    """Return what was given as `registry`, or raise InvalidImageNameError where it is no block."""
    if registry is None or (isinstance(registry, str) and re.fullmatch(BLOCK_NAME, registry)):
        return registry
    reason = "it takes a block by its name, such as 'ommx-registry/prod'"
    raise InvalidImageNameError(repr(registry), reason, "registry")


def checked_aliases(aliases: Sequence[str]) -> tuple[str, ...]:
    """Return what was given as `aliases`, or raise for what is no list of tags."""
    if isinstance(aliases, str) or not all(isinstance(alias, str) for alias in aliases):
        raise TypeError(f"aliases={aliases!r} are no tags, such as ['latest']")
    for alias in aliases:
        if not is_tag(alias):
            reason = f"{alias!r} is no tag: at most 128 letters, digits, '_', '.' and '-'"
            raise InvalidImageNameError(repr(list(aliases)), reason, "aliases")
    return tuple(aliases)


@dataclass(frozen=True)
class ExperimentHook(ExperimentSettings):
    """The settings of a flow's experiment, and the hook that opens and seals it."""

    @property
    def __name__(self) -> str:
        return "seal_experiment"

    def __call__(
        self, flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]
    ) -> Awaitable[None] | None:
        """Open the experiment when the flow run starts, and seal it when it ends.

        In an event loop that is a coroutine, which Prefect awaits: a seal waits for tasks, and
        what else the loop runs must go on meanwhile.
        """
        if flow.isasync and _is_in_loop():
            return asyncio.to_thread(self._do, flow, flow_run, state)
        self._do(flow, flow_run, state)
        return None

    def _do(self, flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
        if state.is_running():
            ensure_sealed(flow, self)
            open_in_hook(self, flow, flow_run)
            begin_progress(flow, flow_run)
        else:
            end_progress(str(flow_run.id))
            seal_in_hook(self, flow, flow_run, state)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def hook_of(
    *,
    experiment: NameSource,
    replace: bool,
    aliases: Sequence[str],
    push: bool | None,
    stage: str | None,
    registry: str | None,
    lineage: Lineage | None,
) -> ExperimentHook:
    """Check what a flow was decorated with, and return the hook that carries it."""
    wanted = checked(experiment)
    block = checked_registry(registry)
    pushed, place = checked_push(push, wanted, block), checked_stage(stage)
    refuse_no_switch("replace", replace)
    refuse_no_switch("push", push, None)
    if lineage not in (None, *get_args(Lineage)):
        known = " nor ".join(map(repr, (*get_args(Lineage), None)))
        raise TypeError(f"lineage={lineage!r} is neither {known}")
    return ExperimentHook(
        experiment=wanted,
        replace=replace,
        aliases=checked_aliases(aliases),
        push=pushed,
        stage=place,
        registry=block,
        lineage=lineage,
    )


def with_seal(hook: ExperimentHook, options: dict[str, Any]) -> dict[str, Any]:
    """Return flow options whose hook lists end with the seal."""
    given = {name: options.get(name) or [] for name in SEALING_HOOKS}
    lists = {name: [*hooks, hook] for name, hooks in given.items() if isinstance(hooks, Iterable)}
    return {**options, **lists}  # Prefect refuses what is no list, with its own words


def ensure_sealed(flow: Flow[Any, Any], hook: ExperimentSettings) -> None:
    """Put the seal back into hook lists that `with_options` has replaced."""
    for name in SEALING_HOOKS:
        hooks = getattr(flow, f"{name}_hooks")
        if not any(isinstance(found, ExperimentHook) for found in hooks):
            setattr(flow, f"{name}_hooks", [*hooks, hook])  # the list may be the user's own


class SealHooks(TypedDict):
    """Options of a Prefect flow, by which its runs are recorded and sealed."""

    on_completion: list[FlowStateHook[..., Any]]
    on_failure: list[FlowStateHook[..., Any]]
    on_cancellation: list[FlowStateHook[..., Any]]
    on_crashed: list[FlowStateHook[..., Any]]
    on_running: list[FlowStateHook[..., Any]]


@with_known_options("; Prefect's go into prefect.flow beside them")
def seal_hooks(
    experiment: NameSource = None,
    *,
    replace: bool = False,
    aliases: Sequence[str] = (),
    push: bool | None = None,
    stage: str | None = None,
    registry: str | None = None,
    lineage: Lineage | None = None,
) -> SealHooks:
    """Return the state hooks that make a plain Prefect flow record an experiment.

    Use them as `@prefect.flow(**seal_hooks("ghcr.io/acme/nightly"))`. Prefect runs hooks beside
    the flow, so an image name that cannot be used is reported at the start but does not stop
    the flow, as it does with `ommx_prefect.flow`; the experiment then gets a name of its own.

    Args:
        experiment: As for `ommx_prefect.flow`.
        replace: As for `ommx_prefect.flow`.
        aliases: As for `ommx_prefect.flow`.
        push: As for `ommx_prefect.flow`.
        stage: As for `ommx_prefect.flow`.
        registry: As for `ommx_prefect.flow`.
        lineage: As for `ommx_prefect.flow`.
    """
    # Of type Any, since mypy knows no `__name__` of it that could be set.
    hook: Any = hook_of(
        experiment=experiment,
        replace=replace,
        aliases=aliases,
        push=push,
        stage=stage,
        registry=registry,
        lineage=lineage,
    )
    return SealHooks(
        on_completion=[hook],
        on_failure=[hook],
        on_cancellation=[hook],
        on_crashed=[hook],
        on_running=[hook],
    )
