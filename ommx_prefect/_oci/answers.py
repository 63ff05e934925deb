"""Limit how many bytes of a registry's answer are read.

Nothing is decompressed: all requests say `Accept-Encoding: identity`, and a few kilobytes in
gzip can be gigabytes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from ommx_prefect.exceptions import RegistryError

# Of a document: the largest manifest, and the largest page of tags, have as much.
MOST_DOCUMENT_BYTES = 4 * 1024 * 1024
# Of an answer that nobody wants, so that its connection can be used again.
MOST_DISCARDED_BYTES = 64 * 1024
# An answer that comes slower than this, from the first minute on, is none.
LEAST_BYTES_PER_SECOND = 256
PATIENCE_SECONDS = 60.0


class AnswerError(ValueError):
    """An answer is larger or slower than was to be expected; its text says so."""


class AnswerTooLargeError(AnswerError):
    """An answer is larger than was to be expected."""


class OtherBytesError(RegistryError):
    """What a registry has under a digest is not what the digest names: it is damaged there."""


@dataclass(frozen=True)
class Answer:
    """A response that was read to its end.

    Attributes:
        status: Its HTTP status.
        url: The address that it came from.
        headers: Its headers.
        body: Its bytes.
        next_page: Of a list: what its `Link` header says; empty without one.
    """

    status: int
    url: httpx.URL
    headers: httpx.Headers
    body: bytes
    next_page: str = ""


def read_answer(response: httpx.Response) -> Answer:
    """Read a document's response to its end.

    Raises:
        AnswerError: It has more than 4 MiB.
    """
    body = read_at_most(response, MOST_DOCUMENT_BYTES)
    following = response.links.get("next", {}).get("url", "")
    return Answer(response.status_code, response.url, response.headers, body, following)


def read_at_most(response: httpx.Response, most_bytes: int) -> bytes:
    """Return the bytes of a response.

    Raises:
        AnswerError: It has more than these, or says so.
    """
    return b"".join(chunks_of(response, most_bytes))


def chunks_of(response: httpx.Response, most_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of a response as they come; AnswerError as for `read_at_most`."""
    if response.request.method == "HEAD":  # it has no body, and announces that of a GET
        return
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced[:20]) > most_bytes:
        raise AnswerTooLargeError(_too_large(most_bytes))
    size, began = 0, time.monotonic()
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > most_bytes:
            raise AnswerTooLargeError(_too_large(most_bytes))
        if size < (time.monotonic() - began - PATIENCE_SECONDS) * LEAST_BYTES_PER_SECOND:
            raise AnswerError("its answer comes too slowly")
        yield chunk


def discard(response: httpx.Response) -> None:
    """Close a response that is not needed, after reading it if it is small."""
    with contextlib.suppress(AnswerError, httpx.HTTPError):
        read_at_most(response, MOST_DISCARDED_BYTES)
    response.close()


def parsed(body: bytes) -> dict[str, Any]:
    """Parse an answer that is to be a JSON object.

    Raises:
        ValueError: It is none.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("no object")
    return document


def _too_large(most_bytes: int) -> str:
    return f"its answer has more than {most_bytes:,} bytes"
