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
| `pull_experiment` | open what a container registry has under a name now |
| `instance_digest` | a content digest of an Instance, the key of Prefect's cache |
| `codecs`, `solvers`, `instances`, `exceptions` | modules |
"""

from ommx_prefect._pickling import install
from ommx_prefect._workarounds.highs_adapter import heal_highs_adapter
from ommx_prefect._workarounds.notices import listen
from ommx_prefect._workarounds.rust_spans import silence_unused_rust_spans
from ommx_prefect.instances._cache_keys import register_cache_keys
from ommx_prefect.instances._digest import instance_digest

install()
register_cache_keys()
silence_unused_rust_spans()
heal_highs_adapter()

from ommx_prefect import codecs, exceptions, instances, solvers  # noqa: E402
from ommx_prefect._decorators.flow import flow  # noqa: E402
from ommx_prefect._decorators.flow_experiment import current_experiment  # noqa: E402
from ommx_prefect._decorators.hooks import seal_hooks  # noqa: E402
from ommx_prefect._decorators.task import recorded, task  # noqa: E402
from ommx_prefect._moved import keep_old_paths  # noqa: E402
from ommx_prefect._recording.checkpoint import checkpoint  # noqa: E402
from ommx_prefect._recording.current import current_run, note_here  # noqa: E402
from ommx_prefect._recording.log_solve import keep_inputs  # noqa: E402
from ommx_prefect._recording.number_parameters import accept_numbers  # noqa: E402
from ommx_prefect._registry.pull import pull_experiment  # noqa: E402
from ommx_prefect._reporting.seal import seal  # noqa: E402
from ommx_prefect._sealing.result import SealedExperiment, load_experiment  # noqa: E402
from ommx_prefect.codecs import register_codec  # noqa: E402

accept_numbers()
keep_old_paths()
listen(note_here)
keep_inputs()

__all__ = [
    "SealedExperiment",
    "checkpoint",
    "codecs",
    "current_experiment",
    "current_run",
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
