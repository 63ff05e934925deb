"""Read an OMMX Experiment from its exact bytes, refusing by name what is not known."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgpack

from ommx_prefect._format.model import (
    ARTIFACT_TYPE,
    COLUMN_TYPES,
    CONFIG_MEDIA_TYPE,
    INT64,
    PARAMETERS_MEDIA_TYPE,
    Attachments,
    Call,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
    Scalar,
    sha256_digest,
)
from ommx_prefect._format.schemas import (
    AttachmentsJson,
    ColumnJson,
    ConfigJson,
    DescriptorJson,
    ManifestJson,
    RunJson,
    SamplingJson,
    SolveJson,
    TableJson,
    checked,
)
from ommx_prefect._format.strict_json import strict_json
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

RUN_STATUSES = frozenset({"finished", "failed", "interrupted"})
EXPERIMENT_STATUSES = RUN_STATUSES | {"draft"}

# The keys of a Solve or Sampling that are layers.
CALL_LAYERS = frozenset({"input", "output", "diagnostics"})


def decode(documents: Documents) -> ExperimentRecord:
    """Read an Experiment from its exact bytes.

    Raises:
        DocumentError: Bytes do not match the descriptor that names them, or are malformed.
        UnknownFormatError: They hold something this release does not know.
    """
    manifest = manifest_of(documents.manifest)
    check_blob(_descriptor(manifest["config"]), documents.config)
    layers = layers_in(manifest)
    config = checked(ConfigJson, strict_json(documents.config, "Experiment config"))
    table = _layer(layers, config["run_parameters"])
    check_blob(table, documents.parameters)
    parameters = _parameters(table, documents.parameters)
    return ExperimentRecord(
        status=_status(config["status"], EXPERIMENT_STATUSES, "Experiment"),
        reason=_reason(config),
        requested_image_name=config.get("requested_image_name"),
        attachments=_attachments(config["attachments"], layers),
        annotations=manifest.get("annotations") or {},
        subject=descriptor_of(manifest["subject"]) if manifest.get("subject") else None,
        runs=tuple(_run(run, layers, parameters) for run in config["runs"]),
        first_run_id=_first_run_id(config["runs"]),
    )


def manifest_of(data: bytes) -> dict[str, Any]:
    """Parse the bytes of an Experiment's manifest and check its types."""
    manifest = checked(ManifestJson, strict_json(data, "manifest"))
    for found, wanted in (
        (manifest["artifactType"], ARTIFACT_TYPE),
        (manifest["config"]["mediaType"], CONFIG_MEDIA_TYPE),
    ):
        if found != wanted:
            raise UnknownFormatError(f"media type {found!r} is not {wanted!r}")
    return cast("dict[str, Any]", manifest)


def parameters_layer(manifest: Mapping[str, Any]) -> Descriptor:
    """Return the descriptor of the run-parameter table: the one layer of its media type."""
    found = [x for x in manifest["layers"] if x.get("mediaType") == PARAMETERS_MEDIA_TYPE]
    if len(found) != 1:
        raise DocumentError(f"a manifest has {len(found)} run-parameter layers instead of one")
    return descriptor_of(found[0])


def descriptor_of(document: Mapping[str, Any]) -> Descriptor:
    """Read an OCI descriptor; DocumentError where it is none."""
    return _descriptor(checked(DescriptorJson, document))


def layers_in(manifest: Mapping[str, Any]) -> list[Descriptor]:
    """Return the layers of a manifest that `manifest_of` has checked."""
    return [_descriptor(layer) for layer in manifest["layers"]]


def _descriptor(known: DescriptorJson) -> Descriptor:
    annotations = tuple(sorted((known.get("annotations") or {}).items()))
    return Descriptor(sys.intern(known["mediaType"]), known["digest"], known["size"], annotations)


def check_blob(descriptor: Descriptor, data: bytes) -> None:
    """Raise DocumentError unless the bytes are those that the descriptor names."""
    found = sha256_digest(data)
    if found != descriptor.digest or len(data) != descriptor.size:
        raise DocumentError(
            f"{descriptor.media_type}: {len(data)} bytes with digest {found} stand where "
            f"{descriptor.size} bytes with digest {descriptor.digest} are named"
        )


def _first_run_id(runs: Sequence[RunJson]) -> int:
    first = runs[0]["run_id"] if runs else 0
    for run_id, run in enumerate(runs, first):
        if run["run_id"] != run_id:
            raise DocumentError(f"Run {run['run_id']} stands where Run {run_id} is expected")
    return first


def _status(status: str, known: frozenset[str], what: str) -> str:
    if status not in known:
        raise UnknownFormatError(f"{what} has the unknown status {status!r}")
    return status


def _reason(document: ConfigJson | RunJson) -> str | None:
    return document.get("outcome", {}).get("reason")


def _layer(layers: list[Descriptor], index: int) -> Descriptor:
    if index >= len(layers):
        raise DocumentError(f"layer {index!r} does not exist among {len(layers)}")
    return layers[index]


# Most Runs name no file. What all of them have in common is one object, and not one for each.
_NONE: Mapping[str, str] = {}


def _attachments(known: AttachmentsJson, layers: list[Descriptor]) -> Attachments:
    entries = {sys.intern(x): _layer(layers, index) for x, index in known["entries"].items()}
    return Attachments(entries, known.get("filenames", _NONE))


def _run(run: RunJson, layers: list[Descriptor], table: Mapping[int, Any]) -> RunRecord:
    return RunRecord(
        status=_status(run.get("status", "finished"), RUN_STATUSES, "Run"),
        reason=_reason(run),
        attachments=_attachments(run["attachments"], layers),
        trace=_layer(layers, run["trace"]) if "trace" in run else None,
        solves=tuple(_call(call, layers) for call in run.get("solves", ())),
        samplings=tuple(_call(call, layers) for call in run.get("samplings", ())),
        parameters=table.get(run["run_id"], {}),
    )


def _call(known: SolveJson | SamplingJson, layers: list[Descriptor]) -> Call:
    return {
        key: _layer(layers, value) if key in CALL_LAYERS else value  # type: ignore[arg-type]
        for key, value in known.items()
    }


def _parameters(descriptor: Descriptor, data: bytes) -> dict[int, dict[str, Scalar]]:
    if descriptor.media_type != PARAMETERS_MEDIA_TYPE:
        raise UnknownFormatError(f"run parameters have the media type {descriptor.media_type!r}")
    try:
        document = msgpack.unpackb(data, strict_map_key=False)
    except ValueError as error:
        raise DocumentError(f"the run parameters are not MessagePack: {error}") from error
    runs: dict[int, dict[str, Scalar]] = {}
    for name, column in checked(TableJson, document)["columns"].items():
        for run_id, value in _cells(name, column):
            runs.setdefault(run_id, {})[name] = value
    return runs


def _cells(name: str, column: ColumnJson) -> Iterable[tuple[int, Scalar]]:
    kind = COLUMN_TYPES.get(column["type"])
    if kind is None:
        raise UnknownFormatError(f"run parameter {name!r} has the type {column['type']!r}")
    for run_id, value in column["values"].items():
        if type(value) is not kind:
            raise DocumentError(f"run parameter {name!r} holds {value!r}, not a {column['type']}")
        if kind is int and value not in INT64:
            raise DocumentError(f"run parameter {name!r} holds an integer beyond 64 bits")
        yield run_id, value
