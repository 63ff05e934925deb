"""What must never be written anywhere, and how it is cut out of all that is.

A secret is what has a name like a credential's, a pydantic secret, and what is secret in a Prefect
Block (Prefect's `Secret` is one). It is left out, and its text is cut out of everything else that
is recorded of the same attempt.
"""

from __future__ import annotations

import functools
import json
import operator
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from numbers import Number
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ommx_prefect._format.model import Scalar
from ommx_prefect._values.members import members_of

REDACTED = "**redacted**"

# Parts of an argument's name that mark it as a credential: the first wherever they are, the others
# as a word of it. `pass` alone is no such word, for a method has passes, too.
SECRET_NAME = re.compile(
    r"password|passwd|passphrase"
    r"|(^|[_\W])(pwds?|secrets?|tokens?|credentials?|creds|auth|authorization|bearer"
    r"|(db|user|admin|root|smtp|proxy)_?pass|(client|app|shared)secret"
    r"|(api|auth|access|refresh|id|bearer)token"
    r"|(api|access|private|secret|signing|encryption|license|ssh)_?keys?)($|[_\W\d])",
    re.IGNORECASE,
)
# Where a new word begins without an underscore: `apiKey`, `HTTPToken`.
WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

SHORTEST_SECRET = 4
# A number with fewer digits, such as max_tokens=4096, is a count and would be cut out of figures.
SHORTEST_NUMBER = 6
# How much of each container, and how many members of one argument, are searched for secrets.
MOST_IN_ONE = 1_000
MOST_IN_ALL = 20_000

# What can hold no other value: a text of a secret, or of no interest.
_BINARY = (bytes, bytearray, memoryview)
_LEAVES = (str, *_BINARY, Number, UUID, PurePath, type(None))
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
_revealed = operator.methodcaller("get_secret_value")


@functools.lru_cache(maxsize=10_000)
def is_secret_name(name: str) -> bool:
    """Tell whether an argument's name looks like a credential (`apiKey`, `db_password`)."""
    return bool(SECRET_NAME.search(WORD_BEGINS.sub("_", name)))


def is_secret(value: object) -> bool:
    """Tell a pydantic secret (anything with `get_secret_value`) or a Prefect Block."""
    block = getattr(sys.modules.get("prefect.blocks.core"), "Block", None)
    return callable(getattr(type(value), "get_secret_value", None)) or (
        block is not None and isinstance(value, block)
    )


# Every secret seen in this process: Prefect repeats a task's message in the state of its flow.
_known: set[str] = set()


def redact_known(text: str) -> str:
    """Cut every secret that this process has seen out of a text."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


class Redactor:
    """Cuts the secrets among some arguments out of any text."""

    def __init__(self, arguments: Mapping[str, Any] | None = None) -> None:
        self.secrets: list[str] = []
        self.learn(arguments or {})

    def learn(self, arguments: Mapping[str, Any]) -> dict[str, Exception]:
        """Cut the secrets among these arguments out as well; return why one was not searched.

        Dicts, lists, tuples, sets, dataclass instances and pydantic models are searched, nearest
        members first. Other objects are not looked into.
        """
        searches = {name: _Search(name, value) for name, value in arguments.items()}
        self.add(set().union(*(search.texts for search in searches.values())))
        return {name: search.problem for name, search in searches.items() if search.problem}

    def add(self, secrets: Iterable[str]) -> None:
        """Cut these texts out as well, longer ones first: one may be a part of another."""
        found = {form for secret in secrets for form in _forms_of(secret)}
        _known.update(found)
        self.secrets = sorted(found.union(self.secrets), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, REDACTED)
        return text

    def scalar(self, value: Scalar) -> Scalar:
        """Return a run parameter without the secrets."""
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            shown = self.text(str(value))
            return value if shown == str(value) else shown
        return value


class _Search:
    """The texts of secrets in one argument, and the first error that the argument raised."""

    def __init__(self, name: str, value: Any) -> None:
        self.texts: set[str] = set()
        self.problem: Exception | None = None
        # What is still to be looked into, and whether all in it is secret.
        self._waiting: deque[tuple[Any, bool]] = deque()
        self._seen: dict[int, Any] = {}
        self._left = MOST_IN_ALL
        self._look(value, is_secret_name(name))
        while self._waiting and self._left > 0:
            self._look_into(*self._waiting.popleft())

    def _look(self, value: Any, is_hidden: bool) -> None:
        self._left -= 1
        if callable(getattr(type(value), "get_secret_value", None)):
            value, is_hidden = self._ask(_revealed, value), True
        if issubclass(type(value), Enum):
            value = value.value
        if not issubclass(type(value), _LEAVES):
            self._wait(value, is_hidden)
        elif is_hidden:
            self.texts.update(_texts_of(value))

    def _wait(self, value: Any, is_hidden: bool) -> None:
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            self._waiting.append((value, is_hidden))

    def _look_into(self, value: Any, is_hidden: bool) -> None:
        for name, member in self._ask(members_of, value, MOST_IN_ONE) or ():
            if name is None and not is_hidden and type(member) in _PLAIN:
                continue  # of a list, at no cost: it may be one of the rows of a large matrix
            self._look(member, is_hidden or (isinstance(name, str) and is_secret_name(name)))

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:  # an object of the user's may raise whatever it is asked
            self.problem = self.problem or error
            return None


def _forms_of(secret: str) -> tuple[str, ...]:
    """Return how a secret is shown: as it is, by `repr` (as a KeyError does), and in JSON."""
    return secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]


def _texts_of(value: Any) -> Iterator[str]:
    """Return how a leaf is shown as text, where that is long enough for a secret."""
    if value is None:  # there is none
        return
    if isinstance(value, _BINARY):
        value = bytes(value).decode(errors="replace")
    shortest = SHORTEST_NUMBER if isinstance(value, Number) else SHORTEST_SECRET
    shown = (str(value), value.hex) if isinstance(value, UUID) else (str(value),)
    yield from (text for text in shown if len(text) >= shortest)
