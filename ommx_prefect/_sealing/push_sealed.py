"""When a sealed experiment is pushed: after its local seal, which no failing push can undo.

`sealed.json` says whether it was. A process that dies in between leaves it unsaid, and the next
seal of the flow run pushes what is not known to be pushed; the registry has each blob once.
"""

from __future__ import annotations

from dataclasses import replace

from ommx_prefect._oci.image_name import with_tag
from ommx_prefect._prefect.log import inform, warn
from ommx_prefect._prefect.states import describe_error
from ommx_prefect._registry.blobs import find
from ommx_prefect._sealing.push import push_image
from ommx_prefect._sealing.report import report_push
from ommx_prefect._sealing.result import SealedExperiment, update_sealed
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._values.secrets import redact_known


def push_if_wanted(stage: Stage, record: FlowRecord, sealed: SealedExperiment) -> SealedExperiment:
    """Push a finished experiment and its aliases, unless it is there; keep and return how it went.

    Only a finished experiment is pushed. One that failed or was interrupted stands as a
    checkpoint in the Local Registry, and its name is not advanced, here or elsewhere.
    """
    if not record.push or sealed.status != "finished" or sealed.pushed:
        return sealed
    problem = _push(record, sealed)
    answer = replace(sealed, pushed=not problem, push_problem=problem)
    update_sealed(stage, answer)
    return answer


def show_push(before: SealedExperiment | None, sealed: SealedExperiment) -> None:
    """Show in the UI what a seal by hand has changed about the push."""
    if sealed.pushed is None or (before is not None and before.pushed == sealed.pushed):
        return
    try:
        report_push(sealed)
    except Exception as error:
        warn(f"The UI was not told of the push: {describe_error(error)}")


def _push(record: FlowRecord, sealed: SealedExperiment) -> str:
    """Push, and return what went wrong; empty where nothing did."""
    try:
        # An alias that a later flow run has here is not taken from it there.
        names = {tag: with_tag(sealed.image_name, tag) for tag in record.aliases}
        aliases = [tag for tag, name in names.items() if find(name) == sealed.manifest_digest]
        push_image(sealed.image_name, sealed.manifest_digest, aliases)
    except Exception as error:  # whatever it was, the experiment is sealed
        problem = redact_known(describe_error(error))
        warn(f"{sealed.image_name} is sealed here, but not pushed: {problem}")
        return problem
    inform(f"Pushed {sealed.image_name}")
    return ""
