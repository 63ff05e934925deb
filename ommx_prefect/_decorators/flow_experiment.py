"""Let the flow body log on its experiment, each call durable at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ommx.experiment import Experiment, Run
from prefect.context import FlowRunContext, TaskRunContext

from ommx_prefect._decorators.late_seal import LateSeal
from ommx_prefect._flowrun.attachment_names import claimed_names
from ommx_prefect._flowrun.context import (
    ROOT_FLOW_RUN_LABEL,
    enclosing_root_id,
    root_flow_run_id_of,
)
from ommx_prefect._flowrun.secrets import secrets_of_flow_run
from ommx_prefect._flowrun.settings import settings_of
from ommx_prefect._format.parts import NAME as PARTS_DOCUMENT
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._recording.redaction import redaction_notes, without_secrets
from ommx_prefect._registry.unnamed import open_experiment, store
from ommx_prefect._sealing.ledger import NAME as LEDGER
from ommx_prefect._shards.process import host_name, new_nonce, own_start, time_in_order
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import PARTS, read_flow_record
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import DuplicateAttachmentError, NoExperimentError

# What the seal itself attaches.
RESERVED = frozenset({LEDGER, PARTS_DOCUMENT})
# What a part of an experiment may be: these methods of an Experiment, and no others.
LOGGING = ("set_annotation",)


def current_experiment() -> FlowExperiment:
    """Return the experiment of the flow run whose body runs here.

    Raises:
        NoExperimentError: No recorded flow runs here.
    """
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if context is None or flow_run is None:
        raise NoExperimentError
    recorded = (
        settings_of(context.flow)
        or ROOT_FLOW_RUN_LABEL in flow_run.labels
        or enclosing_root_id.get()
    )
    if not recorded:
        raise NoExperimentError
    return FlowExperiment(root_flow_run_id_of(context), str(flow_run.id), flow_run.run_count)


class FlowExperiment:
    """The experiment of a running flow: every `log_*` method of an Experiment, and `run()`.

    Args:
        root_flow_run_id: Id of the flow run whose experiment it is.
        flow_run_id: Id of the flow run that logs; a subflow's, perhaps.
        flow_attempt: Its run count.
    """

    def __init__(self, root_flow_run_id: str, flow_run_id: str, flow_attempt: int) -> None:
        self._stage = stage_of(root_flow_run_id)
        self._flow_run_id = flow_run_id
        self._flow_attempt = flow_attempt

    @property
    def image_name(self) -> str:
        """The OCI image name under which the flow run will be sealed."""
        record = read_flow_record(self._stage)
        return record.image_name if record else ""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not (name.startswith("log_") or name in LOGGING) or not hasattr(Experiment, name):
            raise AttributeError(f"{name!r} is not a logging method of ommx.experiment.Experiment")

        def log(*args: Any, **kwargs: Any) -> None:
            self._log(name, *args, **kwargs)

        return log

    @contextlib.contextmanager
    def run(self) -> Iterator[Run]:
        """Open a Run that is no task; it is durable when the `with` block ends."""
        attempt = self._attempt("")
        options = RecordingOptions(on_error="raise")
        recording = Recording(attempt, options, {}, late_seal=LateSeal())
        with recording, recording.active():
            yield recording.run

    def _log(self, method: str, *args: Any, **kwargs: Any) -> None:
        experiment = open_experiment()
        getattr(experiment, method)(*args, **kwargs)
        for name in sorted(RESERVED.intersection(experiment.attachment_names)):
            raise DuplicateAttachmentError(name)
        with self._claimed(experiment.attachment_names):
            self._put(experiment, f"experiment.{method}")

    def _put(self, experiment: Experiment, task: str) -> None:
        redact = self._redactor()
        documents = without_secrets(store(experiment), redact)
        notes = redaction_notes(redact)
        shard = Shard(self._attempt(task), "finished", notes=notes, documents=documents)
        self._stage.put(shard, PARTS)

    def _redactor(self) -> Redactor:
        redact = Redactor()
        redact.add(secrets_of_flow_run(self._stage.flow_run_id))
        return redact

    def _claimed(self, names: Collection[str]) -> AbstractContextManager[None]:
        return claimed_names(self._stage.flow_run_id, self._flow_run_id, self._flow_attempt, names)

    def _attempt(self, task: str) -> Attempt:
        return Attempt(
            root_flow_run_id=self._stage.flow_run_id,
            flow_run_id=self._flow_run_id,
            flow_attempt=self._flow_attempt,
            task_run_id="",
            task=task,
            task_run="",
            attempt=1,
            nonce=new_nonce(),
            started_at=time_in_order(),
            host=host_name(),
            pid=os.getpid(),
            parent_task_run_id=_enclosing_task_run(),
            process_start=own_start(os.getpid()),
        )


def add_part(attempt: Attempt, document: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
    """Attach a document of this package itself to the experiment of an attempt's flow run.

    Its names are not taken from the user, who may log under them: the seal keeps both.

    Args:
        attempt: Who knows it.
        document: Attachments by name, as JSON.
        annotations: Annotations by name.
    """
    experiment = open_experiment()
    for name, value in document.items():
        experiment.log_json(name, value)
    for name, text in annotations.items():
        experiment.set_annotation(name, text)
    made = FlowExperiment(attempt.root_flow_run_id, attempt.flow_run_id, attempt.flow_attempt)
    made._put(experiment, "experiment.environment")


def _enclosing_task_run() -> str:
    context = TaskRunContext.get()
    return str(context.task_run.id) if context else ""
