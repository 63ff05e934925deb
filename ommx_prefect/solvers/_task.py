"""Name the runs of the ready-made tasks, and refuse unknown arguments with a hint."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar, cast

from ommx import Instance
from prefect.exceptions import ParameterBindError
from prefect.tasks import Task

from ommx_prefect._decorators.task import RecordedTask
from ommx_prefect._solver.backends import near_matches
from ommx_prefect._values.secrets import redact_known
from ommx_prefect.instances._name import given_name

LONGEST_NAME = 200
# What other libraries call our arguments, where the spelling does not tell.
_ELSEWHERE = {
    "timeout": "time_limit_seconds",
    "time": "time_limit_seconds",
    "max_seconds": "time_limit_seconds",
    "random_state": "seed",
    "n_jobs": "threads",
    "warm_start": "start",
    "initial_state": "start",
    "solver": "adapter",
    "model": "instance",
    "problem": "instance",
}

# Keyword arguments of a call that Prefect takes for itself.
PREFECTS_OWN = frozenset({"return_state", "wait_for", "deferred"})

P = ParamSpec("P")
R = TypeVar("R")


def _run_name(parameters: dict[str, Any]) -> str:
    """Return `<instance> <adapter>`, by which a person finds a solve; no instance is digested."""
    adapter, instance = parameters["adapter"], parameters["instance"]
    solver = adapter if isinstance(adapter, str) else getattr(adapter, "__name__", "solver")
    name = given_name(instance) if isinstance(instance, Instance) else ""
    return redact_known(f"{name or 'instance'} {solver}")[:LONGEST_NAME]


# Prefect's type for such a function has a class method, which no function has.
run_name: Any = _run_name


class HelpfulTask(RecordedTask[P, R]):
    """A recorded task that refuses unknown keyword arguments in Prefect's way, with a hint."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task as `prefect.Task.__call__` does."""
        self._refuse(kwargs)
        return super().__call__(*args, **kwargs)

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Submit the task as `prefect.Task.submit` does."""
        self._refuse(kwargs)
        return super().submit(*args, **kwargs)

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Map the task as `prefect.Task.map` does."""
        self._refuse(kwargs)
        return super().map(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Delay the task as `prefect.Task.delay` does."""
        self._refuse(kwargs)
        return super().delay(*args, **kwargs)

    def _refuse(self, keywords: dict[str, Any]) -> None:
        refuse_unknown(self.fn, keywords.keys() - PREFECTS_OWN)


def refuse_unknown(function: Callable[..., Any], given: Collection[str]) -> None:
    """Raise ParameterBindError, with a hint, for a keyword argument that a function does not have.

    Args:
        function: The function, by whose name it is called in the message.
        given: The names of the keyword arguments.
    """
    known = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in known.values()):
        return
    for name in sorted(set(given) - known.keys()):
        meant = _ELSEWHERE.get(name)
        hint = f"Did you mean {meant!r}?" if meant in known else near_matches(name, known)
        raise ParameterBindError(
            f"Error binding parameters for function '{function.__name__}': it has no argument "
            f"{name!r}. {hint} A solver's own options go into options={{...}}."
        )


def helpful(task: Task[P, R]) -> Task[P, R]:
    """Return a recorded task with a hint for each unknown keyword argument."""
    made: HelpfulTask[P, R] = object.__new__(HelpfulTask)
    made.__dict__.update(vars(task))
    return cast(Task[P, R], made)
