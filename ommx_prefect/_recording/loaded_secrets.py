"""Treat the blocks that a task or flow loads itself as its secrets."""

from __future__ import annotations

from prefect.blocks.core import Block

from ommx_prefect._flowrun.secrets import add_to_flow_run
from ommx_prefect._recording.current import recording_here
from ommx_prefect._values.secrets import Redactor


def learn_loaded(block: Block) -> None:
    """Cut what is secret in a block out of what the task that loads it records, or the flow."""
    recording = recording_here()
    if recording is not None:
        recording.redact.learn({"block": block})
    else:
        add_to_flow_run(Redactor({"block": block}).texts)
