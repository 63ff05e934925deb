"""Remove secrets from what OMMX has written of a Run.

They are cut out of names, file names, options and annotations; a trace that shows one is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ommx_prefect._format.compose import compose
from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Descriptor, Documents
from ommx_prefect._registry.blobs import blob_path, read_blob
from ommx_prefect._values.secret_forms import url_passwords
from ommx_prefect._values.secrets import REDACTED, Redactor, unused

# Words of OMMX's and digests, which are no texts.
KEPT = frozenset({"status", "media_type", "digest"})
TRACE_LEFT_OUT = "its trace is not stored: it shows a secret"


def without_secrets(documents: Documents, redact: Redactor) -> Documents:
    """Return the documents of an Experiment without secrets; the same ones where they hold none.

    What they name is not looked into: it was searched before it was stored.
    """
    if not any(map(redact.may_show, (documents.manifest, documents.config, documents.parameters))):
        return documents
    record = decode(documents)
    shown = _without_secrets(record, "", redact)
    return documents if shown == record else compose(shown).documents


def without_leaking_trace(documents: Documents, redact: Redactor) -> tuple[Documents, bool]:
    """Return the documents of an Experiment without traces that show a secret.

    Such a trace is removed from the registry, too: it is of one Run alone, by the ids in it.

    Returns:
        The documents, and whether they are whole: the same ones.
    """
    record = decode(documents)
    leaking = {run.trace for run in record.runs if run.trace and _shows_one(run.trace, redact)}
    if not leaking:
        return documents, True
    for trace in leaking:
        blob_path(trace.digest).unlink(missing_ok=True)
    runs = (dataclasses.replace(x, trace=None) if x.trace in leaking else x for x in record.runs)
    return compose(dataclasses.replace(record, runs=tuple(runs))).documents, False


def _shows_one(trace: Descriptor, redact: Redactor) -> bool:
    data = read_blob(trace.digest)
    # Latin-1 has a character for each byte: a URL in protobuf is found as it stands.
    return redact.shows(data) or bool(url_passwords(data.decode("latin-1")))


def redaction_notes(redact: Redactor) -> tuple[str, ...]:
    """Return a note of how many texts with a secret were replaced; none where none was."""
    count = redact.count
    return (f"{count} texts with a secret are replaced by {REDACTED}",) if count else ()


def _without_secrets(value: Any, name: str, redact: Redactor) -> Any:
    if isinstance(value, Descriptor):
        pairs = tuple((key, redact.text(text)) for key, text in value.annotations)
        return dataclasses.replace(value, annotations=pairs)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {x.name: getattr(value, x.name) for x in dataclasses.fields(value)}
        shown = {
            key: x if key in KEPT else _without_secrets(x, key, redact) for key, x in fields.items()
        }
        return dataclasses.replace(value, **shown)
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, item in value.items():
            result[unused(redact.text(key), result)] = _without_secrets(item, key, redact)
        return result
    if isinstance(value, (list, tuple)):
        return type(value)(_without_secrets(item, name, redact) for item in value)
    return redact.json(value, name)
