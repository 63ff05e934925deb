"""Redact secrets from everything that is written.

A secret is what has a name like a credential's, a pydantic secret, what is secret in a Prefect
Block (Prefect's `Secret` is one), and the password of a URL. It is left out, and its text is cut
out of everything else that is recorded in the same flow run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ommx_prefect._format.model import Scalar
from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._values.secret_forms import URL_PASSWORD, forms_of, needles_of
from ommx_prefect._values.secret_names import is_secret_name
from ommx_prefect._values.secret_search import BINARY, NEVER_SECRET, Search, is_secret, texts_of

__all__ = ["REDACTED", "Redactor", "is_secret", "is_secret_name", "redact_known"]

REDACTED = "**redacted**"
# How much of a file is searched at once.
CHUNK_BYTES = 1024 * 1024

# Every secret seen in this process: Prefect repeats a task's message in the state of its flow.
MOST_KNOWN = 10_000
_known: Bounded[str, None] = Bounded(MOST_KNOWN)


def redact_known(text: str) -> str:
    """Redact every secret that this process has seen in a text."""
    return _cut(text, sorted(_known, key=len, reverse=True))[0]


class Redactor:
    """Redacts the secrets of some arguments in any text.

    Attributes:
        texts: The secrets, to be handed to what runs inside of this.
        secrets: All forms in which they are cut out, longest first.
        count: How often something was cut out.
    """

    def __init__(self, arguments: Mapping[str, Any] | None = None) -> None:
        self.texts: set[str] = set()
        self.secrets: list[str] = []
        self.count = 0
        self._short: set[str] = set()
        self._numbers: set[str] = set()
        self._needles: tuple[bytes, ...] | None = None
        self.learn(arguments or {})

    def learn(self, arguments: Mapping[str, Any]) -> dict[str, Exception]:
        """Redact the secrets of these arguments as well; return why an argument was not searched.

        Dicts, lists, tuples, sets, dataclass instances and pydantic models are searched, nearest
        members first. Other objects are not looked into.
        """
        searches = {
            name: Search(name, value)
            for name, value in arguments.items()
            if type(value) not in NEVER_SECRET
        }
        for search in searches.values():
            self._short |= search.short
            self._numbers |= search.numbers
        self.add(set().union(*(search.texts for search in searches.values())))
        return {name: search.problem for name, search in searches.items() if search.problem}

    def add(self, secrets: Iterable[str]) -> None:
        """Redact these texts as well, longer ones first: one may be a part of another."""
        new = {text for text in secrets if text} - self.texts
        if not new:
            return
        self.texts |= new
        forms = {form for text in new for form in forms_of(text)}
        _remember(forms)
        self.secrets = sorted(forms.union(self.secrets), key=len, reverse=True)
        self._needles = None

    def text(self, text: str) -> str:
        """Return the text without the secrets, and without passwords in URLs."""
        shown, count = _cut(text, self.secrets)
        self.count += count
        return shown

    def scalar(self, value: Scalar) -> Scalar:
        """Return a run parameter without the secrets; a number is none by chance."""
        if isinstance(value, str):
            return self.text(value)
        return REDACTED if self._is_secret_number(value) else value

    def json(self, value: Any, name: str = "") -> Any:
        """Return what JSON holds without the secrets; keys that become one stay apart."""
        if isinstance(value, str):
            is_here = self.hides(value, name)
            self.count += is_here
            return REDACTED if is_here else self.text(value)
        if isinstance(value, list):
            return [self.json(item, name) for item in value]
        if not isinstance(value, dict):
            return REDACTED if self._is_secret_number(value) else value
        result: dict[str, Any] = {}
        for key, item in value.items():
            result[unused(self.text(key), result)] = self.json(item, key)
        return result

    def hides(self, value: object, name: str) -> bool:
        """Tell whether a value is a secret by its name that is too short to be searched for."""
        if not self._short or not isinstance(value, (str, *BINARY)) or not is_secret_name(name):
            return False
        return not self._short.isdisjoint(texts_of(value))

    def may_show(self, data: bytes) -> bool:
        """Tell whether the bytes of a text may hold something that `json` would cut out."""
        if b"://" in data and b"@" in data:  # of a URL
            return True
        return bool(self.texts or self._short or self._numbers) and self._may_show(data)

    def _may_show(self, data: bytes) -> bool:
        if any(number.encode() in data for number in self._numbers):
            return True
        short = (json.dumps(text)[1:-1].encode() for text in self._short)
        return self.shows(data) or any(text in data for text in short)

    def shows(self, data: bytes) -> bool:
        """Tell whether bytes hold a secret, in UTF-8, UTF-16 or UTF-32."""
        return any(needle in data for needle in self._searched_for())

    def shows_in(self, pieces: Iterable[bytes | memoryview]) -> bool:
        """Tell whether what comes in pieces holds a secret; some of it at a time is copied."""
        overlap = max(map(len, self._searched_for()), default=0)
        if not overlap:
            return False
        before = b""
        for piece in pieces:
            for first in range(0, len(piece), CHUNK_BYTES):
                chunk = before + bytes(piece[first : first + CHUNK_BYTES])
                if self.shows(chunk):
                    return True
                before = chunk[-overlap:]
        return False

    def shows_in_file(self, path: Path) -> bool:
        """Tell whether a file holds a secret."""
        with path.open("rb") as file:
            return self.shows_in(iter(lambda: file.read(CHUNK_BYTES), b""))

    def _searched_for(self) -> tuple[bytes, ...]:
        if self._needles is None:
            self._needles = needles_of(self.texts)
        return self._needles

    def _is_secret_number(self, value: object) -> bool:
        """Tell whether a number is secret; its name alone does not make it one."""
        found = bool(self._numbers) and not isinstance(value, bool) and str(value) in self._numbers
        self.count += found
        return found


def unused(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name, or `name~2`, `name~3`, ... where it is taken."""
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}~{number}"
    return unique


def _cut(text: str, forms: Iterable[str]) -> tuple[str, int]:
    """Redact texts, and passwords of URLs, in a text; return how often, too."""
    count = 0
    for form in forms:
        if form in text:
            count += text.count(form)
            text = text.replace(form, REDACTED)
    if "://" in text and "@" in text:
        text, urls = URL_PASSWORD.subn(_without_password, text)
        count += urls
    return text, count


def _without_password(found: re.Match[str]) -> str:
    return f"{found[1]}:{REDACTED}@"


def _remember(forms: Iterable[str]) -> None:
    _known.update(dict.fromkeys(forms))
