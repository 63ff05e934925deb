"""How to write an OMMX Experiment in the byte form that OMMX itself writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgpack

from ommx_prefect._format.model import (
    ARTIFACT_TYPE,
    COLUMN_TYPES,
    CONFIG_MEDIA_TYPE,
    PARAMETERS_MEDIA_TYPE,
    Attachments,
    Call,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
    Scalar,
    describe,
)


class _Layers:
    """The layer list of a manifest, where an identical descriptor appears once."""

    def __init__(self) -> None:
        self.indexes: dict[Descriptor, int] = {}

    def index(self, descriptor: Descriptor) -> int:
        return self.indexes.setdefault(descriptor, len(self.indexes))


def encode(
    experiment: ExperimentRecord, columns: Mapping[str, Mapping[int, Scalar]] | None = None
) -> Documents:
    """Write an Experiment in the byte form of OMMX; run ids are dense from 0.

    Args:
        experiment: What to write.
        columns: The run-parameter table, name -> run id -> cell, every column of one type;
            made from the Runs' own parameters when it is not given.
    """
    if columns is None:
        columns = columns_of(experiment.runs)
    layers = _Layers()
    parameters = parameter_bytes(columns)
    config = _json(_config_json(experiment, layers, describe(PARAMETERS_MEDIA_TYPE, parameters)))
    manifest: dict[str, Any] = {
        "annotations": dict(experiment.annotations),
        "artifactType": ARTIFACT_TYPE,
        "config": {**describe(CONFIG_MEDIA_TYPE, config).as_json()},
        "layers": [descriptor.as_json() for descriptor in layers.indexes],
        "schemaVersion": 2,
    }
    del manifest["config"]["annotations"]
    if subject := experiment.subject:
        manifest["subject"] = subject.as_json()
        del manifest["subject"]["annotations"]  # none, as OMMX writes it
    if not manifest["annotations"]:
        del manifest["annotations"]
    return Documents(_json(manifest, sort_keys=True), config, parameters)


def columns_of(runs: Iterable[RunRecord]) -> dict[str, dict[int, Scalar]]:
    """Return the run parameters as columns: name -> run id -> cell."""
    columns: dict[str, dict[int, Scalar]] = {}
    for run_id, run in enumerate(runs):
        for name, value in run.parameters.items():
            columns.setdefault(name, {})[run_id] = value
    return columns


def parameter_bytes(columns: Mapping[str, Mapping[int, Scalar]]) -> bytes:
    """Write the run-parameter table as MessagePack."""
    types = {kind: name for name, kind in COLUMN_TYPES.items()}
    document: dict[str, Any] = {
        name: {"type": types[type(next(iter(cells.values())))], "values": dict(cells)}
        for name, cells in sorted(columns.items())
        if cells
    }
    packed: bytes = msgpack.packb({"columns": document})
    return packed


def _json(document: Any, *, sort_keys: bool = False) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    return text.encode()


def _config_json(
    experiment: ExperimentRecord, layers: _Layers, parameters: Descriptor
) -> dict[str, Any]:
    requested = experiment.requested_image_name
    return {
        **_lifecycle_json(experiment.status, experiment.reason),
        **({"requested_image_name": requested} if requested else {}),
        "attachments": _attachments_json(experiment.attachments, layers.index),
        "runs": [_run_json(i, run, layers.index) for i, run in enumerate(experiment.runs)],
        "run_parameters": layers.index(parameters),
    }


def _lifecycle_json(status: str, reason: str | None) -> dict[str, Any]:
    # OMMX refuses a finished Run or Experiment that carries an outcome.
    if status in ("finished", "draft") or reason is None:
        return {"status": status}
    return {"status": status, "outcome": {"reason": reason}}


def _attachments_json(
    attachments: Attachments, index: Callable[[Descriptor], int]
) -> dict[str, Any]:
    entries = {name: index(layer) for name, layer in sorted(attachments.entries.items())}
    filenames = dict(sorted(attachments.filenames.items()))
    return {"entries": entries, **({"filenames": filenames} if filenames else {})}


def _run_json(run_id: int, run: RunRecord, index: Callable[[Descriptor], int]) -> dict[str, Any]:
    return {
        "run_id": run_id,
        **_lifecycle_json(run.status, run.reason),
        "attachments": _attachments_json(run.attachments, index),
        **({"trace": index(run.trace)} if run.trace else {}),
        "solves": [_call_json(call, index) for call in run.solves],
        "samplings": [_call_json(call, index) for call in run.samplings],
    }


def _call_json(call: Call, index: Callable[[Descriptor], int]) -> dict[str, Any]:
    return {
        key: index(value) if isinstance(value, Descriptor) else value for key, value in call.items()
    }
