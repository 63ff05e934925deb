"""Which arguments become run parameters, and what must never be written anywhere.

A secret is an argument whose name looks like a credential, or whose value is a pydantic secret
or a Prefect Block (Prefect's `Secret` is one). It is left out, and its text is cut out of
everything else that is recorded of the same attempt.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import itertools
import re
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from ommx_prefect._records import Scalar

REDACTED = "**redacted**"

# Parts of an argument's name that mark it as a credential.
SECRET_NAME = re.compile(
    r"(^|[_\W])(password|passwd|passphrase|pwd|secrets?|tokens?|credentials?|auth|authorization"
    r"|bearer|(api|access|private|secret|signing|encryption|license|ssh)_?keys?)($|[_\W\d])",
    re.IGNORECASE,
)

# Python type -> how it is written as a run parameter.
WRITTEN_AS_TEXT: tuple[type, ...] = (
    PurePath,
    uuid.UUID,
    datetime.datetime,
    datetime.date,
    datetime.time,
)

LONGEST_TEXT = 1_000
SHORTEST_SECRET = 4
# How deep, and how far into each container, secrets among the arguments are looked for.
DEEPEST_SECRET = 4
MOST_ITEMS = 1_000
INT64 = range(-(2**63), 2**63)


def is_secret_name(name: str) -> bool:
    """Tell whether an argument's name looks like a credential (`apiKey`, `db_password`)."""
    return bool(SECRET_NAME.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)))


def is_secret(value: object) -> bool:
    """Tell a pydantic secret (anything with `get_secret_value`) or a Prefect Block."""
    block = getattr(sys.modules.get("prefect.blocks.core"), "Block", None)
    return callable(getattr(type(value), "get_secret_value", None)) or (
        block is not None and isinstance(value, block)
    )


def as_parameter(value: object) -> Scalar | None:
    """Return a value as OMMX takes it for a run parameter, or None where it is no scalar.

    numpy scalars and enums become Python's; paths, dates and UUIDs become text.

    Raises:
        ValueError: It is a scalar that cannot be stored: an integer beyond 64 bits, or text
            longer than 1,000 characters.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if (numpy := sys.modules.get("numpy")) and isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, WRITTEN_AS_TEXT):
        value = value.isoformat() if hasattr(value, "isoformat") else str(value)
    if isinstance(value, str):
        return _checked_text(str(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return _checked_int(int(value))
    if isinstance(value, float):
        return float(value)  # a subclass is no column type of OMMX
    return value if isinstance(value, bool) else None


def scalars(
    arguments: Mapping[str, Any], wanted: bool | Collection[str]
) -> Iterator[tuple[str, Scalar | ValueError]]:
    """Yield the arguments that are recorded, or the reason why one cannot be."""
    for name, value in arguments.items():
        if wanted is False or (wanted is not True and name not in wanted):
            continue
        if is_secret_name(name) or is_secret(value):
            continue
        try:
            scalar = as_parameter(value)
        except ValueError as error:
            yield name, error
            continue
        if scalar is not None:
            yield name, scalar


# Every secret seen in this process: Prefect repeats a task's message in the state of its flow.
_known: set[str] = set()


def redact_known(text: str) -> str:
    """Cut every secret that this process has seen out of a text."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


class Redactor:
    """Cuts the secrets among some arguments out of any text."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        found = {text for name, value in arguments.items() for text in _secret_texts(name, value)}
        _known.update(x for x in found if len(x) >= SHORTEST_SECRET)
        self.secrets = sorted((x for x in found if len(x) >= SHORTEST_SECRET), key=len)[::-1]

    def learn(self, values: Mapping[str, Any]) -> None:
        """Cut the secrets among these values out as well."""
        known = {*self.secrets, *Redactor(values).secrets}
        self.secrets = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, REDACTED)
        return text

    def scalar(self, value: Scalar) -> Scalar:
        """Return a run parameter without the secrets."""
        return self.text(value) if isinstance(value, str) else value


def _secret_texts(name: str, value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts of secrets in an argument, also inside containers and `**kwargs`."""
    if is_secret(value):
        yield from _plain_texts(value)
    elif isinstance(value, (dict, list, tuple)) and depth < DEEPEST_SECRET:
        items = value.items() if isinstance(value, dict) else ((name, item) for item in value)
        for key, item in itertools.islice(items, MOST_ITEMS):
            yield from _secret_texts(str(key), item, depth + 1)
    elif is_secret_name(name) and isinstance(value, (str, bytes)):
        yield value if isinstance(value, str) else value.decode(errors="replace")


def _plain_texts(value: Any) -> Iterator[str]:
    """Yield what a secret or the secret fields of a Block hold."""
    if hasattr(value, "get_secret_value"):
        with contextlib.suppress(Exception):  # it hides itself better than we could
            plain = value.get_secret_value()
            yield plain.decode(errors="replace") if isinstance(plain, bytes) else str(plain)
    for field in getattr(type(value), "model_fields", {}):
        inner = getattr(value, field, None)
        if is_secret(inner):
            yield from _plain_texts(inner)


def storable(text: str) -> str:
    """Return the text as UTF-8 can hold it: odd bytes of file names are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _checked_text(text: str) -> str:
    text = storable(text)
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it has {len(text)} characters, more than {LONGEST_TEXT}")
    return text


def _checked_int(value: int) -> int:
    if value not in INT64:
        raise ValueError("it is an integer beyond 64 bits, which OMMX cannot store")
    return value
