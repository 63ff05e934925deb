"""Every run of a Prefect flow becomes a sealed OMMX Experiment.

Change one import, `from ommx_prefect import flow, task`, and each attempt of a task becomes one
`ommx.experiment.Run`; when the flow run ends, however it ends, they are sealed as one immutable
OCI artifact in the Local Registry, which plain `ommx` opens.

| name | what it is |
|---|---|
| `task`, `flow` | Prefect's decorators, recording |
| `recorded`, `seal_hooks` | the same for those who keep `@prefect.task` and `@prefect.flow` |
| `current_run()` | the open Run of the task that runs here |
| `checkpoint(**values)` | make values durable now, as a part of that Run |
| `current_experiment()` | the experiment, for the flow body |
| `seal`, `load_experiment` | seal a flow run by hand; open what it sealed |
| `earlier_experiments` | open the last finished ones of the same series before that |
| `pull_experiment` | open what a container registry has under a name now |
| `instance_digest` | a content digest of an Instance, the key of Prefect's cache |
| `codecs`, `solvers`, `instances`, `exceptions` | modules |

A name is loaded when it is first asked for: `import ommx_prefect.analysis` loads no Prefect.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ommx_prefect._moved import keep_old_paths
from ommx_prefect._pickling import install
from ommx_prefect._values.number_parameters import accept_numbers
from ommx_prefect._workarounds.after_import import after_import
from ommx_prefect._workarounds.highs_adapter import heal_highs_adapter
from ommx_prefect._workarounds.rust_spans import silence_unused_rust_spans

if TYPE_CHECKING:
    from ommx_prefect import codecs, exceptions, instances, solvers
    from ommx_prefect._decorators.flow import flow
    from ommx_prefect._decorators.flow_experiment import current_experiment
    from ommx_prefect._decorators.hooks import seal_hooks
    from ommx_prefect._decorators.task import recorded, task
    from ommx_prefect._recording.checkpoint import checkpoint
    from ommx_prefect._recording.current import current_run
    from ommx_prefect._registry.pull import pull_experiment
    from ommx_prefect._reporting.seal import seal
    from ommx_prefect._sealing.nights import earlier_experiments
    from ommx_prefect._sealing.result import SealedExperiment, load_experiment
    from ommx_prefect.codecs import register_codec
    from ommx_prefect.instances._digest import instance_digest

# What type checkers read above -> the module that has it.
_LAZY = {
    "SealedExperiment": "_sealing.result",
    "checkpoint": "_recording.checkpoint",
    "current_experiment": "_decorators.flow_experiment",
    "current_run": "_recording.current",
    "earlier_experiments": "_sealing.nights",
    "flow": "_decorators.flow",
    "instance_digest": "instances._digest",
    "load_experiment": "_sealing.result",
    "pull_experiment": "_registry.pull",
    "recorded": "_decorators.task",
    "register_codec": "codecs",
    "seal": "_reporting.seal",
    "seal_hooks": "_decorators.hooks",
    "task": "_decorators.task",
}
_MODULES = frozenset({"codecs", "exceptions", "instances", "solvers"})

__all__ = [
    "SealedExperiment",
    "checkpoint",
    "codecs",
    "current_experiment",
    "current_run",
    "earlier_experiments",
    "exceptions",
    "flow",
    "instance_digest",
    "instances",
    "load_experiment",
    "pull_experiment",
    "recorded",
    "register_codec",
    "seal",
    "seal_hooks",
    "solvers",
    "task",
]


def _register_cache_keys() -> None:
    from ommx_prefect.instances._cache_keys import register_cache_keys

    register_cache_keys()


install()
silence_unused_rust_spans()
heal_highs_adapter()
accept_numbers()
keep_old_paths()
after_import("prefect.cache_policies", _register_cache_keys)


if not TYPE_CHECKING:  # a type checker would take any name

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
