"""The table of backends: the adapter of each solver, and the names of its options.

An adapter is known by the module it or a base class comes from, so the table imports nothing. An
adapter that is not in it still solves, through its own `solve`: `options` become its keyword
arguments, and limits are refused, for nobody here knows how it takes them.

`threads` is an upper bound. HiGHS obeys it; for SCIP it is `lp/threads`, since `optimize()` itself
runs in one thread and `parallel/maxnthreads` counts only for its concurrent mode.
"""

from __future__ import annotations

import difflib
import importlib
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ommx.adapter import SamplerAdapter, SolverAdapter

from ommx_prefect._solver.driver import Driver
from ommx_prefect._solver.highs import HighsDriver
from ommx_prefect._solver.python_mip import PythonMipDriver
from ommx_prefect._solver.scip import ScipDriver
from ommx_prefect.exceptions import UnknownAdapterError


@dataclass(frozen=True)
class Domain:
    """The values that an option takes: their type, and of numbers the least and the greatest."""

    kind: type
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Backend:
    """One solver: how to find its adapter, and what our option names are called there."""

    name: str
    module: str
    adapter: str
    limits: Mapping[str, str]
    driver: Driver | None = None
    keywords: Mapping[str, Domain] = field(default_factory=dict)
    """A sampler's options, and what each takes."""
    packages: tuple[str, ...] = ()
    """The distributions that bring the solver itself, whose versions are recorded."""

    @property
    def requirement(self) -> str:
        """What pip installs of it. OMMX 3 is a pre-release, which pip takes only if it is named."""
        return f"{self.distribution}>=3.0.0b7,<4"

    @property
    def distribution(self) -> str:
        """The distribution that brings the adapter."""
        return self.module.replace("_", "-")


BACKENDS: tuple[Backend, ...] = (
    Backend(
        name="highs",
        module="ommx_highs_adapter",
        adapter="OMMXHighsAdapter",
        limits={
            "time_limit_seconds": "time_limit",
            "mip_gap": "mip_rel_gap",
            "seed": "random_seed",
            "threads": "threads",
        },
        driver=HighsDriver(),
        packages=("highspy",),
    ),
    Backend(
        name="scip",
        module="ommx_pyscipopt_adapter",
        adapter="OMMXPySCIPOptAdapter",
        limits={
            "time_limit_seconds": "limits/time",
            "mip_gap": "limits/gap",
            "seed": "randomization/randomseedshift",
            "threads": "lp/threads",
        },
        driver=ScipDriver(),
        packages=("pyscipopt",),
    ),
    Backend(
        name="python-mip",
        module="ommx_python_mip_adapter",
        adapter="OMMXPythonMIPAdapter",
        limits={
            "time_limit_seconds": "max_seconds",
            "mip_gap": "max_mip_gap",
            "seed": "seed",
            "threads": "threads",
        },
        driver=PythonMipDriver(),
        packages=("mip", "cbcbox"),
    ),
    Backend(
        name="openjij",
        module="ommx_openjij_adapter",
        adapter="OMMXOpenJijSAAdapter",
        limits={"seed": "seed"},
        keywords={
            "beta_min": Domain(float, 0.0),
            "beta_max": Domain(float, 0.0),
            "num_sweeps": Domain(int, 1),
            "num_reads": Domain(int, 1),
            "schedule": Domain(list),
            "updater": Domain(str),
            "sparse": Domain(bool),
            "reinitialize_state": Domain(bool),
            "seed": Domain(int, 0),
        },
        packages=("openjij",),
    ),
)


def resolve_adapter(adapter: type[SolverAdapter] | str) -> type[SolverAdapter]:
    """Return the adapter class itself, or the one that a short name stands for.

    Raises:
        UnknownAdapterError: No backend has this name, its package is not installed, or the class
            is no `ommx.adapter.SolverAdapter`.
    """
    if isinstance(adapter, str):
        return _imported(_backend_named(adapter))
    if not (isinstance(adapter, type) and issubclass(adapter, SolverAdapter)):
        raise UnknownAdapterError(
            _shown(adapter),
            "it is no subclass of ommx.adapter.SolverAdapter. Pass an adapter class or one of "
            f"{_listed(backend.name for backend in BACKENDS)}.",
        )
    return adapter


def resolve_sampler(adapter: type[SamplerAdapter] | str) -> type[SamplerAdapter]:
    """Return the sampler class; as `resolve_adapter`, and it must be a sampler."""
    found = resolve_adapter(adapter)
    if not issubclass(found, SamplerAdapter):
        raise UnknownAdapterError(found.__name__, "it solves and does not sample; use solve().")
    return found


def backend_of(adapter: type[SolverAdapter]) -> Backend | None:
    """Return the backend of an adapter class or of the class it derives from, if it is known."""
    packages = {base.__module__.partition(".")[0] for base in adapter.__mro__}
    return next((backend for backend in BACKENDS if backend.module in packages), None)


def near_matches(name: str, known: Iterable[str]) -> str:
    """Say which known names are meant, or what there is, for the end of an error message."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {_listed(near)}?"
    rest = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"It has {_listed(names[:20])}{rest}." if names else "It has none."


def _backend_named(name: str) -> Backend:
    found = next((backend for backend in BACKENDS if backend.name == name.lower()), None)
    if found is None:
        names = [backend.name for backend in BACKENDS]
        hint = difflib.get_close_matches(name.lower(), names, n=1) or names
        raise UnknownAdapterError(
            repr(name), f"no backend has this name. Pass an adapter class or {_listed(hint)}."
        )
    return found


def _imported(backend: Backend) -> type[SolverAdapter]:
    try:
        module = importlib.import_module(backend.module)
    except ImportError as error:
        raise UnknownAdapterError(
            repr(backend.name),
            f'{error}. Install it: pip install "{backend.requirement}"',
        ) from error
    adapter: type[SolverAdapter] = getattr(module, backend.adapter)
    return adapter


def _shown(value: object) -> str:
    # An instance in the wrong place would print its whole model.
    return repr(value) if isinstance(value, type) else " ".join(reprlib.repr(value).split())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
