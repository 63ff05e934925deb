"""The `flow` decorator: Prefect's own, whose every flow run becomes a sealed OMMX Experiment."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast, overload

import prefect
from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.utilities.hashing import file_hash

from ommx_prefect._decorators.generators import Unwatched, relaying, relaying_async
from ommx_prefect._decorators.hooks import ensure_sealed, hook_of, with_seal
from ommx_prefect._decorators.identity import is_function_of, kind_of, passing_for
from ommx_prefect._decorators.recorded_flow import as_recorded
from ommx_prefect._decorators.unknown_options import refuse_text, refuse_unknown
from ommx_prefect._flowrun.context import enclosing_root_id, label
from ommx_prefect._flowrun.image_name import NameSource
from ommx_prefect._flowrun.interruptions import interruption_noted
from ommx_prefect._flowrun.secrets import handed_on, secrets_around
from ommx_prefect._flowrun.settings import ExperimentSettings, settings_of
from ommx_prefect._flowrun.start import open_flow_run
from ommx_prefect._prefect.log import warn
from ommx_prefect._recording.current import recording_here
from ommx_prefect._reporting.progress import begin_progress
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import Lineage
from ommx_prefect._stages.roots import root_of
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import ImageNameError, StageError

P = ParamSpec("P")
R = TypeVar("R")
# Opens the experiment of a flow run, around the flow's body.
OpensFlowRun = Callable[[], AbstractContextManager[Unwatched]]


OWN_OPTIONS = ("experiment", "replace", "aliases", "push", "stage", "registry", "lineage")


class FlowDecorator:
    """Prefect's `flow`, whose flows are recorded; `flow.from_source` loads one from storage."""

    @overload
    def __call__(self, fn: Callable[P, R], /) -> Flow[P, R]: ...
    @overload
    def __call__(
        self,
        fn: None = None,
        /,
        *,
        experiment: NameSource = None,
        replace: bool = False,
        aliases: Sequence[str] = (),
        push: bool | None = None,
        stage: str | None = None,
        registry: str | None = None,
        lineage: Lineage | None = None,
        **prefect_flow_options: Any,
    ) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
    def __call__(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        experiment: NameSource = None,
        replace: bool = False,
        aliases: Sequence[str] = (),
        push: bool | None = None,
        stage: str | None = None,
        registry: str | None = None,
        lineage: Lineage | None = None,
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
            push: Whether each experiment is pushed to the registry that its name says: a finished
                one under its name and aliases, another under a tag with `-failed` or
                `-interrupted` at its end. A push that fails is shown and loses nothing: `seal`
                takes it up again. None: what the `registry` says, or
                `PREFECT_INTEGRATIONS_OMMX_PUSH`, or not.
            stage: Where the shards of attempts wait to be sealed: `local` for the Local Registry;
                for workers on other hosts a Prefect storage block as `type-slug/name`
                (`s3-bucket/shards`), or a repository of an OCI registry
                (`oci://ghcr.io/acme/shards`), where a finished experiment with a name in the same
                registry is composed. None: what the `registry` says, or
                `PREFECT_INTEGRATIONS_OMMX_STAGE`, or `local`.
            registry: An `ommx_prefect.blocks.OMMXRegistry` block, as `ommx-registry/prod`. It gives
                a name without a registry its place (`nightly` below its repository, `:tag` in it,
                None the repository itself), credentials, and the stage and push where these are
                None. None: `PREFECT_INTEGRATIONS_OMMX_REGISTRY`, or none.
            lineage: `previous`: the sealed image names as its OCI subject the last finished one of
                the same deployment (without one, of the same flow and repository) that was
                scheduled before, as the Local Registry has it or, where the experiment is composed
                in the OCI registry of its stage, that registry. `accumulate`: it also holds all
                that this one holds, before its own Runs, so that one image has all nights. None: it
                names none.
            prefect_flow_options: Everything that `prefect.flow` takes.

        Raises:
            ImageNameError: When a flow run starts: its name does not parse, or is taken. At once:
                push=True without a name.
            StageError: When a flow run starts: the block or registry does not exist, does not
                answer, cannot list, or does not let us in. At once: it is none of the kinds above.
        """
        refuse_text("flow", fn)
        others = " and those of prefect.flow"
        refuse_unknown("flow", prefect_flow_options, OWN_OPTIONS, Flow.__init__, others)
        if fn is None:
            return functools.partial(
                self,
                experiment=experiment,
                replace=replace,
                aliases=aliases,
                push=push,
                stage=stage,
                registry=registry,
                lineage=lineage,
                **prefect_flow_options,
            )
        if isinstance(fn, Flow):
            raise TypeError(f"{fn.name!r} is a Prefect flow already; decorate the function itself")
        hook = hook_of(
            experiment=experiment,
            replace=replace,
            aliases=aliases,
            push=push,
            stage=stage,
            registry=registry,
            lineage=lineage,
        )
        made = as_recorded(
            prefect.flow(_recorded(fn), **with_seal(hook, prefect_flow_options)), hook
        )
        _point_to_file_of(fn, made)
        return made

    from_source = staticmethod(prefect.flow.from_source)


flow = FlowDecorator()


@contextlib.contextmanager
def recorded_flow_run(fn: Callable[..., Any] | None = None) -> Iterator[Unwatched]:
    """Open the experiment of the flow run that Prefect runs here, around the flow's body.

    Args:
        fn: The function that is called, which is not that flow's in `other_flow.fn()`. None in
            flows that were pickled by a release which did not say.
    """
    steps = Unwatched()
    context = FlowRunContext.get()
    settings = settings_of(context.flow) if context else None
    if context is None or context.flow_run is None or settings is None:
        yield steps
        return
    if fn is not None and not is_function_of(cast(Flow[Any, Any], context.flow).fn, fn):
        yield steps
        return
    known = handed_on(context.flow_run, context.parameters, _inherited())
    with known, _opened(context, settings):
        yield steps


@contextlib.contextmanager
def _opened(context: FlowRunContext, settings: ExperimentSettings) -> Iterator[None]:
    flow_run = cast(FlowRun, context.flow_run)
    token = enclosing_root_id.set(_open(context, settings))
    try:
        # Tasks in threads and other processes are to know it.
        with interruption_noted(str(flow_run.id), flow_run.run_count):
            yield
    finally:
        with contextlib.suppress(ValueError):  # a generator flow may end in another context
            enclosing_root_id.reset(token)


def _inherited() -> frozenset[str]:
    """Return what is secret in the flow or the task that calls this flow."""
    around = recording_here()
    return secrets_around().union(around.redact.texts if around else ())


def _open(context: FlowRunContext, settings: ExperimentSettings) -> str:
    """Open the experiment of a flow run, label the flow run, and return its root's id.

    Raises:
        ImageNameError: The name cannot be used.
        StageError: The stage cannot be used.
    """
    flow, flow_run = cast(Flow[Any, Any], context.flow), cast(FlowRun, context.flow_run)
    ensure_sealed(flow, settings)
    try:
        enclosing, parameters = enclosing_root_id.get(), context.parameters or {}
        record = open_flow_run(settings, flow, flow_run, parameters, enclosing)
        root_flow_run_id, stage = record.root_flow_run_id, record.stage
    except (ImageNameError, StageError):
        raise
    except Exception as error:  # a registry that cannot be written must not stop the flow
        warn(f"The experiment could not be opened: {describe_error(error)}")
        root_flow_run_id, stage = str(flow_run.id), settings.stage or LOCAL
    with _kept_from_flow("The tasks of this flow run are not told where its experiment is"):
        label(flow_run, root_flow_run_id, str(root_of(root_flow_run_id)), stage)
    if root_flow_run_id == str(flow_run.id):
        with _kept_from_flow("The progress of this flow run is not shown"):
            begin_progress(flow, flow_run)
    return root_flow_run_id


@contextlib.contextmanager
def _kept_from_flow(what: str) -> Iterator[None]:
    """Turn an exception of the block into a warning: recording must not fail the flow."""
    try:
        yield
    except Exception as error:
        warn(f"{what}: {describe_error(error)}")


def _recorded(fn: Callable[..., Any]) -> Callable[..., Any]:
    if isinstance(fn, (staticmethod, classmethod)):
        return cast(Callable[..., Any], type(fn)(_recorded(fn.__func__)))
    opened = functools.partial(recorded_flow_run, fn)
    return passing_for(kind_of(fn, _KINDS)(fn, opened), fn)


def _function(fn: Callable[..., Any], opened: OpensFlowRun) -> Callable[..., Any]:
    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        with opened():
            return fn(*args, **kwargs)

    return recorded


def _coroutine(fn: Callable[..., Any], opened: OpensFlowRun) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def recorded(*args: Any, **kwargs: Any) -> Any:
        with opened():
            return await fn(*args, **kwargs)

    return recorded


_KINDS: dict[Callable[[Any], bool], Callable[..., Callable[..., Any]]] = {
    inspect.isasyncgenfunction: relaying_async,
    inspect.iscoroutinefunction: _coroutine,
    inspect.isgeneratorfunction: relaying,
    callable: _function,
}


def _point_to_file_of(fn: Callable[..., Any], flow: Flow[..., Any]) -> None:
    """Give a flow the version and entrypoint of the user's file; Prefect saw the wrapper's."""
    with contextlib.suppress(TypeError, OSError):  # in a REPL there is no file
        fn = getattr(fn, "__func__", fn)
        own, users = inspect.getfile(flow.fn), inspect.getfile(fn)
        if flow._entrypoint is not None:
            flow._entrypoint = flow._entrypoint.replace(own, users)
        if flow.version == file_hash(own):
            flow.version = None
            flow.version = file_hash(users)
