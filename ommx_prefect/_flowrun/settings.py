"""The settings of a flow's experiment, carried by the flow's hooks and by its function.

Hooks survive pickling and the import of a flow in Prefect's worker and runner, but `with_options`
may replace them. Attributes of the function survive all three; those of the Flow do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import Flow

from ommx_prefect._flowrun.image_name import NameSource
from ommx_prefect._stages.documents import Lineage

# The hook lists of a Flow in which a seal must be reachable.
SEALING_HOOKS = ("on_completion", "on_failure", "on_cancellation", "on_crashed")

# The attribute of a flow's function that carries its settings.
SETTINGS = "__ommx_prefect_experiment__"


@dataclass(frozen=True)
class ExperimentSettings:
    """How a flow's experiment is named, stored and pushed.

    Attributes:
        experiment: Image name, template, callable, or None; see `ommx_prefect.flow`.
        replace: Whether the name may be moved from another experiment.
        aliases: Tags that are moved to each finished experiment.
        push: Whether each experiment is pushed to the registry that its name says; None for what
            the block or Prefect's settings say.
        stage: Where shards wait; None for that of the block or of Prefect's settings.
        registry: The OMMX Registry block, as `ommx-registry/name`; None for that of the settings.
        lineage: `previous` where the sealed image names the previous night as its OCI subject,
            `accumulate` where it holds that and all nights before as well.
    """

    experiment: NameSource = None
    replace: bool = False
    aliases: tuple[str, ...] = ()
    push: bool | None = None
    stage: str | None = None
    registry: str | None = None
    lineage: Lineage | None = None


def settings_of(flow: Flow[Any, Any] | None) -> ExperimentSettings | None:
    """Return the experiment settings of a flow, or None where it is a plain flow."""
    for name in SEALING_HOOKS:
        for hook in getattr(flow, f"{name}_hooks", None) or ():
            if isinstance(hook, ExperimentSettings):
                return hook
    carried = getattr(getattr(flow, "fn", None), SETTINGS, None)
    return carried if isinstance(carried, ExperimentSettings) else None
