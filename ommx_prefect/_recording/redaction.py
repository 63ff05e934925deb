"""Remove secrets from what OMMX has written of a Run: names, file names, options, annotations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ommx_prefect._format.compose import compose
from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Descriptor, Documents
from ommx_prefect._values.secrets import REDACTED, Redactor, unused

# Words of OMMX's and digests, which are no texts.
KEPT = frozenset({"status", "media_type", "digest"})


def without_secrets(documents: Documents, redact: Redactor) -> Documents:
    """Return the documents of an Experiment without secrets; the same ones where they hold none.

    What they name is not looked into: it was searched before it was stored.
    """
    if not any(map(redact.may_show, (documents.manifest, documents.config, documents.parameters))):
        return documents
    record = decode(documents)
    shown = _shown(record, "", redact)
    return documents if shown == record else compose(shown).documents


def redaction_notes(redact: Redactor) -> tuple[str, ...]:
    """Say how many texts with a secret were replaced; nothing where none was."""
    count = redact.count
    return (f"{count} texts with a secret are replaced by {REDACTED}",) if count else ()


def _shown(value: Any, name: str, redact: Redactor) -> Any:
    if isinstance(value, Descriptor):
        pairs = tuple((key, redact.text(text)) for key, text in value.annotations)
        return dataclasses.replace(value, annotations=pairs)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {x.name: getattr(value, x.name) for x in dataclasses.fields(value)}
        shown = {key: x if key in KEPT else _shown(x, key, redact) for key, x in fields.items()}
        return dataclasses.replace(value, **shown)
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, item in value.items():
            result[unused(redact.text(key), result)] = _shown(item, key, redact)
        return result
    if isinstance(value, (list, tuple)):
        return type(value)(_shown(item, name, redact) for item in value)
    return redact.json(value, name)
