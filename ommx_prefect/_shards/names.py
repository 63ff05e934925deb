"""Types for names that become file names: ids of flow runs and keys of records.

They come from stages, documents and arguments. What is no such name is refused before a path, a
tag or a URL is made of it.
"""

from __future__ import annotations

import re
from typing import TypeVar

from ommx_prefect.exceptions import DocumentError

N = TypeVar("N", bound="_Name")


class _Name(str):
    """A text that is one part of a path, on every file system and in every tag of OCI."""

    __slots__ = ()
    _pattern = re.compile("(?!)")
    _what = ""

    def __new__(cls: type[N], text: str) -> N:
        """Parse a text.

        Raises:
            DocumentError: It is no such name.
        """
        if not isinstance(text, str) or cls._pattern.fullmatch(text) is None:
            raise DocumentError(f"{str(text)[:100]!r} is no {cls._what}")
        return super().__new__(cls, text)


class FlowRunId(_Name):
    """The id of a flow run, or of a task run outside flows: letters, digits and dashes."""

    __slots__ = ()
    _pattern = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
    _what = "id of a flow run"


class RecordKey(_Name):
    """The name of a record in its folder: `<task run id>-<attempt>-<nonce>`, or an id."""

    __slots__ = ()
    _pattern = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,98}[A-Za-z0-9])?")
    _what = "key of a record"
