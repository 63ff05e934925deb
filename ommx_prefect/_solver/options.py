"""Set the options of a backend: each is checked, set, and read back before a solve.

Three layers: the four limits every user knows (`time_limit_seconds`, `mip_gap`, `seed`,
`threads`), translated by the table of backends; raw options under the backend's own names; and
the keyword arguments of samplers and of adapters that the table does not know.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ommx.adapter import SolverAdapter

from ommx_prefect._solver.backends import Backend, Domain, backend_of, near_matches
from ommx_prefect._solver.driver import Driver
from ommx_prefect.exceptions import SolverOptionError

# What each limit takes.
LIMITS = {
    "time_limit_seconds": Domain(float, 1e-9, 1e20),
    "mip_gap": Domain(float, 0.0, 1e20),
    "seed": Domain(int, 0, 2**31 - 1),
    "threads": Domain(int, 1, 64),
}
# Before the names of options under which a solve is known that has left no record of them.
OPTION = "option."
# Arguments of an adapter's `solve` and `sample` that are no options of the solver.
_NOT_OPTIONS = frozenset({"ommx_instance", "diagnostics", "kwargs", "args"})


def option_value(text: str) -> bool | int | float | str:
    """Return the text of an option as the number or truth value it writes, else as it is."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def given_limits(adapter: type[SolverAdapter], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that are not None, checked and as float or int."""
    given = plain_values({name: x for name, x in limits.items() if x is not None})
    for name, value in given.items():
        _check(adapter, name, value, LIMITS[name])
    return {name: LIMITS[name].kind(value) for name, value in given.items()}


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with numpy's scalars as Python's: they are no int or bool to solvers."""
    return {
        name: value.item()
        if type(value).__module__ == "numpy" and hasattr(value, "item") and not value.shape
        else value
        for name, value in values.items()
    }


def backend_settings(
    adapter: type[SolverAdapter], limits: Mapping[str, Any], options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return limits and raw options together, under the names the backend knows them by.

    Raises:
        SolverOptionError: The backend has no such limit, or it is given twice.
        TypeError: The options are no mapping of names.
    """
    _require_names(options)
    backend = backend_of(adapter)
    names = backend.limits if backend else {}
    settings = plain_values(options or {})
    for limit, value in limits.items():
        if limit not in names:
            reason = "its solver has no such limit, or none that is known here."
            raise SolverOptionError(adapter.__name__, limit, f"{reason} {_takes(backend)}")
        if names[limit] in settings:
            reason = f"{names[limit]!r} in options says the same; give it once."
            raise SolverOptionError(adapter.__name__, limit, reason)
        settings[names[limit]] = value
    return settings


def set_options(adapter: type[SolverAdapter], driver: Driver, model: Any, settings: Any) -> None:
    """Set options on a backend model, and read each back.

    Raises:
        SolverOptionError: The backend does not know the option or does not take the value.
    """
    known = driver.options(model)
    for name, value in settings.items():
        if name not in known:
            reason = f"no such option. {near_matches(name, known)}"
            raise SolverOptionError(adapter.__name__, name, reason)
        explain = partial(driver.explain, model, name)
        _check(adapter, name, value, Domain(type(known[name])), explain)
        try:
            driver.write(model, name, value)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            told = explain()
            reason = f"{str(error).rstrip('.!')}.{told and f' It takes: {told}'}"
            raise SolverOptionError(adapter.__name__, name, reason) from error
    _read_back(adapter, driver.options(model), settings)


def check_keywords(
    adapter: type[SolverAdapter], call: Callable[..., Any], keywords: Mapping[str, Any]
) -> None:
    """Check the keyword arguments for `adapter.solve` or `adapter.sample`.

    Raises:
        SolverOptionError: The adapter has no such keyword, or a sampler in the table does not
            take the value.
    """
    backend = backend_of(adapter)
    takes = backend.keywords if backend else {}
    known = takes or _names(call)
    for name, value in keywords.items():
        if name not in known:
            reason = f"no such option. {near_matches(name, known)}"
            raise SolverOptionError(adapter.__name__, name, reason)
        if name in takes:
            _check(adapter, name, value, takes[name])


def _names(call: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(call).parameters) - _NOT_OPTIONS


def _check(
    adapter: type[SolverAdapter],
    name: str,
    value: object,
    domain: Domain,
    explain: Callable[[], str] = str,
) -> None:
    """Raise SolverOptionError unless an option takes a value; `explain` says what it takes."""
    if not _is(value, domain.kind):
        reason = f"{value!r} is no {domain.kind.__name__}."
        reason += f" It takes: {told}" if (told := explain()) else ""
    elif isinstance(value, (int, float)) and not domain.least <= value <= domain.most:
        reason = f"{value!r} is not between {domain.least:g} and {domain.most:g}."
    else:
        return
    raise SolverOptionError(adapter.__name__, name, reason)


def _is(value: object, wanted: type) -> bool:
    if isinstance(value, bool) or wanted is bool:
        return isinstance(value, bool) and wanted is bool
    if wanted is float:
        return isinstance(value, (int, float)) and not math.isnan(value)
    return isinstance(value, wanted)


def _read_back(adapter: type[SolverAdapter], found: Mapping[str, Any], settings: Any) -> None:
    for name, value in settings.items():
        if found[name] != value:
            reason = f"it was set to {value!r}, but the solver holds {found[name]!r}."
            raise SolverOptionError(adapter.__name__, name, reason)


def _takes(backend: Backend | None) -> str:
    if backend is None:
        return "Pass the adapter's own keyword arguments as options={...}."
    return f"It takes {', '.join(backend.limits)}, and its own options as options={{...}}."


def _require_names(options: object) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"options={options!r} is no mapping, such as {{'presolve': 'off'}}")
    for name in options or ():
        if not isinstance(name, str):
            raise TypeError(
                f"options={options!r}: the name {name!r} is no text; write it as "
                "{'presolve': 'off'}"
            )
