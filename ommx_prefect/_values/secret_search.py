"""Find secrets among the arguments of a call: by name, by type, or in a URL."""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from numbers import Number
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ommx_prefect._values.members import members_of
from ommx_prefect._values.secret_forms import parts_of, secrets_in_url, text_of
from ommx_prefect._values.secret_names import is_secret_name

# How much of each container, and how many members of one argument, are searched for secrets.
MOST_IN_ONE = 1_000
MOST_IN_ALL = 20_000
# More texts under names like credentials are data, `tokens` of a text say.
MOST_BY_NAME = 100
# The longest text that is searched for the password of a URL.
LONGEST_URL = 16_384

# What can hold no other value: a text of a secret, or of no interest.
BINARY = (bytes, bytearray, memoryview)
LEAVES = (str, *BINARY, Number, UUID, PurePath, type(None))
_PLAIN = frozenset({bytes, int, float, bool, type(None)})
# Whatever its name is, such a value tells nothing: a number is a count.
NEVER_SECRET = _PLAIN - {bytes}
_revealed = operator.methodcaller("get_secret_value")

# Whether a value is secret, and why: its type is sure of it, a name only likely.
OPEN, BY_NAME, SURE = 0, 1, 2


class TooManyTextsError(ValueError):
    """An argument holds so many texts under names like credentials that they are taken for data."""

    def __init__(self) -> None:
        super().__init__(f"more than {MOST_BY_NAME} texts stand under names like credentials")


def is_secret(value: object) -> bool:
    """Tell whether a value is a pydantic secret (has `get_secret_value`) or a Prefect Block."""
    block = getattr(sys.modules.get("prefect.blocks.core"), "Block", None)
    return callable(getattr(type(value), "get_secret_value", None)) or (
        block is not None and isinstance(value, block)
    )


class Search:
    """The secrets in one argument, and the first error that the argument raised.

    Attributes:
        texts: What is to be cut out of all texts.
        short: What is too short for that.
        numbers: The texts of numbers that are surely secret.
    """

    def __init__(self, name: str, value: Any) -> None:
        self.short: set[str] = set()
        self.numbers: set[str] = set()
        self.problem: Exception | None = None
        self._sure: set[str] = set()
        self._by_name: set[str] = set()
        # What is still to be looked into, and how secret all in it is.
        self._waiting: deque[tuple[Any, str, int]] = deque()
        self._seen: dict[int, Any] = {}
        self._left = MOST_IN_ALL
        self._look(value, name, BY_NAME if is_secret_name(name) else OPEN)
        while self._waiting and self._left > 0:
            self._look_into(*self._waiting.popleft())
        if len(self._by_name) > MOST_BY_NAME:
            self._by_name.clear()
            self.problem = self.problem or TooManyTextsError()

    @property
    def texts(self) -> set[str]:
        """What is to be cut out of all texts."""
        return self._sure | self._by_name

    def _look(self, value: Any, name: str, hidden: int) -> None:
        self._left -= 1
        if callable(getattr(type(value), "get_secret_value", None)):
            value, hidden = self._ask(_revealed, value), SURE
        if issubclass(type(value), Enum):
            value = value.value
        if not issubclass(type(value), LEAVES):
            self._wait(value, name, hidden)
        elif hidden:
            self._keep(value, name, hidden)
        elif isinstance(value, str) and len(value) <= LONGEST_URL:
            self._sure |= set().union(*map(parts_of, secrets_in_url(value)))

    def _keep(self, value: Any, name: str, hidden: int) -> None:
        if isinstance(value, Number) and hidden == BY_NAME:  # a count, such as max_tokens
            return
        if isinstance(value, Number):
            self.numbers.add(str(value))
        found = self._sure if hidden == SURE else self._by_name
        for text in texts_of(value):
            parts = parts_of(text, is_cookie="cookie" in name.lower())
            found |= parts
            self.short |= set() if parts else {text}

    def _wait(self, value: Any, name: str, hidden: int) -> None:
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            self._waiting.append((value, name, hidden))

    def _look_into(self, value: Any, around: str, hidden: int) -> None:
        members = self._ask(members_of, value, MOST_IN_ONE) or ()
        if hidden == BY_NAME and _is_pair(value, around):
            members = members[1:]  # the first is a user's name
        for name, member in members:
            if name is None and not hidden and type(member) in _PLAIN:
                continue  # of a list, at no cost: it may be one of the rows of a large matrix
            is_named = isinstance(name, str) and is_secret_name(name)
            own = name if isinstance(name, str) else around
            self._look(member, own, max(hidden, BY_NAME if is_named else OPEN))

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:  # an object of the user's may raise whatever it is asked
            self.problem = self.problem or error
            return None


def texts_of(value: Any) -> Iterator[str]:
    """Yield the texts of a value that is no container."""
    if value is None:  # there is none
        return
    if isinstance(value, BINARY):
        value = text_of(value)
    yield str(value)
    if isinstance(value, UUID):
        yield value.hex


def _is_pair(value: Any, name: str) -> bool:
    """Tell whether a value is `auth=("user", "password")`, as HTTP clients take it."""
    return name.lower().endswith("auth") and isinstance(value, (tuple, list)) and len(value) == 2
