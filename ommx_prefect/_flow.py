"""The `flow` decorator: Prefect's own, whose every flow run becomes a sealed OMMX Experiment."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar, cast, overload

import prefect
from prefect.context import FlowRunContext

from ommx_prefect._flow_start import open_flow_run
from ommx_prefect._hooks import ensure_sealed, hook_of, settings_of, with_seal
from ommx_prefect._image_name import NameSource
from ommx_prefect._log import warn
from ommx_prefect._origin import enclosing_owner, label
from ommx_prefect._stage import LOCAL, root_of
from ommx_prefect._states import describe_error
from ommx_prefect._steps import Steps, Unwatched, relaying
from ommx_prefect.exceptions import ImageNameError, StageError

P = ParamSpec("P")
R = TypeVar("R")


@overload
def flow(fn: Callable[P, R], /) -> prefect.Flow[P, R]: ...
@overload
def flow(
    fn: None = None,
    /,
    *,
    experiment: NameSource = None,
    replace: bool = False,
    aliases: Sequence[str] = (),
    push: bool = False,
    stage: str | None = None,
    **prefect_flow_options: Any,
) -> Callable[[Callable[P, R]], prefect.Flow[P, R]]: ...
def flow(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    experiment: NameSource = None,
    replace: bool = False,
    aliases: Sequence[str] = (),
    push: bool = False,
    stage: str | None = None,
    **prefect_flow_options: Any,
) -> Any:
    """Make a function a Prefect flow whose every run is sealed as an OMMX Experiment.

    Args:
        fn: A function, coroutine function, generator or async generator.
        experiment: The OCI image name to seal under.
            `ghcr.io/acme/nightly`: each flow run gets a tag of its own, from its scheduled time
            and name. `ghcr.io/acme/nightly:{flow_run.name}`: a template; fields are `flow_run`,
            `flow`, `scheduled_time` and `start_time` (UTC) and the flow's parameters.
            `ghcr.io/acme/nightly:2026-11`: one name, for one flow run. A callable gets the
            FlowRun and returns one of these. None: an anonymous name, or, in a subflow, the
            experiment of the enclosing flow.
        replace: Whether the name may be moved from an experiment that has it already.
        aliases: Tags, such as `latest`, that are moved to each finished experiment.
        push: Whether each finished experiment, and its aliases, are pushed to the registry that
            its name says. A push that fails is shown and loses nothing: `seal` takes it up again.
        stage: Where the shards of attempts wait to be sealed: `local` for the Local Registry; for
            workers on other hosts a Prefect storage block as `type-slug/name`
            (`s3-bucket/shards`), or a repository of an OCI registry
            (`oci://ghcr.io/acme/shards`), where a finished experiment with a name in the same
            registry is composed. None: `PREFECT_INTEGRATIONS_OMMX_STAGE`, or `local`.
        prefect_flow_options: Everything that `prefect.flow` takes.

    Raises:
        ImageNameError: When a flow run starts: its name does not parse, or is taken. At once:
            push=True without a name.
        StageError: When a flow run starts: the block or registry does not exist, does not answer,
            cannot list, or does not let us in. At once: it is none of the kinds above.
    """
    if isinstance(aliases, str):
        raise TypeError(f"aliases={aliases!r} is a string; write [{aliases!r}]")
    if fn is None:
        return functools.partial(
            flow,
            experiment=experiment,
            replace=replace,
            aliases=aliases,
            push=push,
            stage=stage,
            **prefect_flow_options,
        )
    if isinstance(fn, prefect.Flow):
        raise TypeError(f"{fn.name!r} is a Prefect flow already; decorate the function itself")
    hook = hook_of(experiment, replace, aliases, push, stage)
    recorded = _recorded(fn)
    return prefect.flow(recorded, **with_seal(hook, prefect_flow_options))


@contextlib.contextmanager
def recorded_flow_run() -> Iterator[None]:
    """Open the experiment of the flow run that Prefect runs here, around the flow's body."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    hook = settings_of(context.flow) if context else None
    if context is None or context.flow is None or flow_run is None or hook is None:
        yield
        return
    ensure_sealed(context.flow, hook)
    enclosing = enclosing_owner.get()
    try:
        record = open_flow_run(hook, context.flow, flow_run, context.parameters or {}, enclosing)
        owner, stage = record.owner, record.stage
    except (ImageNameError, StageError):
        raise
    except Exception as error:  # a registry that cannot be written must not stop the flow
        warn(f"The experiment could not be opened: {describe_error(error)}")
        owner, stage = str(flow_run.id), hook.stage or LOCAL
    label(flow_run, owner, str(root_of(owner)), stage)
    token = enclosing_owner.set(owner)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a generator flow may end in another context
            enclosing_owner.reset(token)


def _recorded(fn: Callable[P, R]) -> Callable[P, R]:
    if isinstance(fn, (staticmethod, classmethod)):
        return cast(Callable[P, R], type(fn)(_recorded(fn.__func__)))
    if inspect.isasyncgenfunction(fn):
        return cast(Callable[P, R], relaying(fn, _unwatched_steps))
    if inspect.iscoroutinefunction(fn):
        return cast(Callable[P, R], _coroutine(fn))
    if inspect.isgeneratorfunction(fn):
        return cast(Callable[P, R], _generator(fn))
    return _function(fn)


def _function(fn: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(fn)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
        with recorded_flow_run():
            return fn(*args, **kwargs)

    return recorded


def _coroutine(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def recorded(*args: Any, **kwargs: Any) -> Any:
        with recorded_flow_run():
            return await fn(*args, **kwargs)

    return recorded


def _generator(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with recorded_flow_run():
            return (yield from fn(*args, **kwargs))

    return recorded


@contextlib.contextmanager
def _unwatched_steps() -> Iterator[Steps]:
    with recorded_flow_run():
        yield Unwatched()
