"""Write an OMMX Experiment in the byte form that OMMX itself writes."""

from __future__ import annotations

import functools
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

# How many kinds of output are kept, by the names and the sizes in them.
MOST_KEPT = 128
# A digest that no output has stands where the output's is to stand.
_NOWHERE = "sha256:" + "x" * 64


class _Layers:
    """The layer list of a manifest, where an identical descriptor appears once."""

    def __init__(self) -> None:
        self.indexes: dict[Descriptor, int] = {}

    def index(self, descriptor: Descriptor) -> int:
        return self.indexes.setdefault(descriptor, len(self.indexes))


def encode(
    experiment: ExperimentRecord, columns: Mapping[str, Mapping[int, Scalar]] | None = None
) -> Documents:
    """Write an Experiment in the byte form of OMMX; run ids are consecutive.

    Args:
        experiment: What to write.
        columns: The run-parameter table, name -> run id -> cell, every column of one type;
            made from the Runs' own parameters when it is not given.
    """
    if columns is None:
        columns = columns_of(experiment.runs, experiment.first_run_id)
    layers = _Layers()
    parameters = parameter_bytes(columns)
    table = describe(PARAMETERS_MEDIA_TYPE, parameters)
    config = _config_text(experiment, layers, table).encode()
    return Documents(_manifest_text(experiment, layers, config).encode(), config, parameters)


def documents_of_output(attachments: Attachments) -> Documents:
    """Return the documents of a finished Experiment with one finished Run that has attachments.

    Most attempts leave one output, and nothing else. Of tasks that return the same kind of value
    all but the digest in the manifest are the same bytes, which are kept.
    """
    if len(attachments.entries) == 1 and not attachments.filenames:
        ((name, layer),) = attachments.entries.items()
        if not layer.annotations and layer.media_type != PARAMETERS_MEDIA_TYPE:
            before, after, config, parameters = _around(name, layer.media_type, layer.size)
            manifest = b"".join((before, layer.digest.encode(), after))
            return Documents(manifest, config, parameters)
    return _encoded(attachments)


def _encoded(attachments: Attachments) -> Documents:
    return encode(ExperimentRecord("finished", (RunRecord("finished", attachments=attachments),)))


@functools.lru_cache(maxsize=MOST_KEPT)
def _around(name: str, media_type: str, size: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Return a manifest's text before and after the output's digest, and the other documents."""
    found = _encoded(Attachments({name: Descriptor(media_type, _NOWHERE, size)}))
    before, after = found.manifest.split(_NOWHERE.encode())
    return before, after, found.config, found.parameters


def columns_of(runs: Iterable[RunRecord], first_run_id: int = 0) -> dict[str, dict[int, Scalar]]:
    """Return the run parameters as columns: name -> run id -> cell."""
    columns: dict[str, dict[int, Scalar]] = {}
    for run_id, run in enumerate(runs, first_run_id):
        for name, value in run.parameters.items():
            columns.setdefault(name, {})[run_id] = value
    return columns


def parameter_bytes(columns: Mapping[str, Mapping[int, Scalar]]) -> bytes:
    """Write the run-parameter table as MessagePack."""
    types = {kind: name for name, kind in COLUMN_TYPES.items()}
    document: dict[str, Any] = {
        name: {"type": types[type(next(iter(cells.values())))], "values": cells}
        for name, cells in sorted(columns.items())
        if cells
    }
    packed: bytes = msgpack.packb({"columns": document})
    return packed


_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_sorted_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode

# What there is one of for each Run is made and written one by one.


def _manifest_text(experiment: ExperimentRecord, layers: _Layers, config: bytes) -> str:
    descriptor = describe(CONFIG_MEDIA_TYPE, config).as_json()
    del descriptor["annotations"]
    head: dict[str, Any] = {"artifactType": ARTIFACT_TYPE, "config": descriptor}
    if experiment.annotations:
        head["annotations"] = dict(experiment.annotations)
    listed = ",".join(map(layer_text, layers.indexes))
    tail: dict[str, Any] = {"schemaVersion": 2}
    if subject := experiment.subject:
        tail["subject"] = subject.as_json()
        del tail["subject"]["annotations"]  # none, as OMMX writes it
    return f'{_sorted_text(head)[:-1]},"layers":[{listed}],{_sorted_text(tail)[1:]}'


def layer_text(layer: Descriptor) -> str:
    """Return the JSON text of one layer in a manifest, without separators."""
    if layer.annotations:
        return _sorted_text(layer.as_json())
    kind = _media_type_text(layer.media_type)
    # A digest is of plain letters (see `Digest`).
    return (
        f'{{"annotations":{{}},"digest":"{layer.digest}","mediaType":{kind},"size":{layer.size}}}'
    )


_media_type_text = functools.lru_cache(maxsize=MOST_KEPT)(_text)


def _config_text(experiment: ExperimentRecord, layers: _Layers, parameters: Descriptor) -> str:
    requested = experiment.requested_image_name
    head = {
        **_lifecycle_json(experiment.status, experiment.reason),
        **({"requested_image_name": requested} if requested else {}),
        "attachments": _attachments_json(experiment.attachments, layers.index),
    }
    numbered = enumerate(experiment.runs, experiment.first_run_id)
    runs = ",".join(_text(_run_json(i, run, layers.index)) for i, run in numbered)
    table = layers.index(parameters)
    return f'{_text(head)[:-1]},"runs":[{runs}],"run_parameters":{table}}}'


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
