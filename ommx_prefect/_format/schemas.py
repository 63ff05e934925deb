"""The shapes of an Experiment's documents: one schema for each object, with no other keys.

Of a list the first wrong item is an error, and no more: pydantic takes a kilobyte for each.

What a schema calls `Any` is OMMX's own (the options of an adapter, say) and passes through as it
is. The schemas check what json and msgpack have parsed, and change nothing of it.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from ommx_prefect._format.model import Digest
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

T = TypeVar("T")

# Characters of one text: as many as a whole table that a name was made of may have.
LONGEST_TEXT = 1_000_000
# Of one experiment: some hundred million Runs.
MOST_PARTS = 10_000
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Index = Annotated[int, Field(ge=0)]
CLOSED = ConfigDict(extra="forbid", strict=True)


class DescriptorJson(TypedDict):
    """An OCI descriptor."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    mediaType: Text
    digest: Annotated[str, AfterValidator(Digest)]
    size: Index
    annotations: NotRequired[dict[Text, Text] | None]


class ManifestJson(TypedDict):
    """An OCI image manifest whose artifact is an Experiment."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    schemaVersion: Literal[2]
    artifactType: Text
    config: DescriptorJson
    layers: Annotated[list[DescriptorJson], FailFast()]
    mediaType: NotRequired[Text]
    subject: NotRequired[DescriptorJson | None]
    annotations: NotRequired[dict[Text, Text] | None]


class AttachmentsJson(TypedDict):
    """Layers by name."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    entries: dict[Text, Index]
    filenames: NotRequired[dict[Text, Text]]


class OutcomeJson(TypedDict):
    """Why something ended as it did."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    reason: NotRequired[Text | None]


class CallJson(TypedDict):
    """What a Solve and a Sampling have in common: one call of an adapter."""

    input: Index
    adapter: Any
    status: NotRequired[Any]
    output: NotRequired[Index]
    adapter_options: NotRequired[Any]
    diagnostics: NotRequired[Index]


class SolveJson(CallJson):
    """One Solve."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    solve_id: Any


class SamplingJson(CallJson):
    """One Sampling."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    sampling_id: Any


class RunJson(TypedDict):
    """One Run."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    run_id: Index
    attachments: AttachmentsJson
    status: NotRequired[Text]
    outcome: NotRequired[OutcomeJson]
    trace: NotRequired[Index]
    solves: NotRequired[Annotated[list[SolveJson], FailFast()]]
    samplings: NotRequired[Annotated[list[SamplingJson], FailFast()]]


class ConfigJson(TypedDict):
    """The config of an Experiment."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    status: Text
    attachments: AttachmentsJson
    runs: Annotated[list[RunJson], FailFast()]
    run_parameters: Index
    outcome: NotRequired[OutcomeJson]
    requested_image_name: NotRequired[Text | None]


class ColumnJson(TypedDict):
    """One column of the run-parameter table."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    type: Text
    values: dict[Index, bool | int | float | str]


class TableJson(TypedDict):
    """The run-parameter table."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    columns: dict[Text, ColumnJson]


class PartJson(TypedDict):
    """One part of an experiment: where it is, and which Runs it holds."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    tag: Annotated[str, Field(pattern="^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
    digest: Annotated[str, AfterValidator(Digest)]
    size: Index
    first_run_id: Index
    last_run_id: Index
    runs: Annotated[int, Field(ge=1)]


class PartsJson(TypedDict):
    """The parts of an experiment, in the order of their Runs."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    format: int
    runs: Index
    counts: dict[Text, Index]
    parts: Annotated[list[PartJson], Field(min_length=1, max_length=MOST_PARTS), FailFast()]


# What each is called in errors.
NAMES: Mapping[type, str] = {
    DescriptorJson: "descriptor",
    ManifestJson: "manifest",
    ConfigJson: "Experiment config",
    TableJson: "run-parameter table",
    PartsJson: "list of parts",
}


def checked(schema: type[T], document: Any) -> T:
    """Return a document as it is, once it has the shape of a schema.

    Raises:
        UnknownFormatError: It has a key that this release does not know.
        DocumentError: It has another shape; the first field that is wrong is named.
    """
    try:
        adapter_of(cast("Hashable", schema)).validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _error_of(NAMES[schema], first["type"], first["loc"], first["msg"]) from None
    except RecursionError:
        raise DocumentError(f"the {NAMES[schema]} is nested too deeply") from None
    found: T = document
    return found


def _error_of(name: str, kind: str, where: tuple[int | str, ...], said: str) -> DocumentError:
    field = ".".join(map(str, where))[:200]
    if kind == "extra_forbidden":
        return UnknownFormatError(f"the {name} has the unknown key {field!r}")
    if kind == "missing":
        return DocumentError(f"the {name} lacks {field!r}")
    return DocumentError(f"the field {field!r} of the {name} is wrong: {said}")


@functools.cache
def adapter_of(schema: Hashable) -> TypeAdapter[Any]:
    """Return what checks a schema: made at its first use, for making it takes milliseconds."""
    return TypeAdapter(cast("Any", schema))
